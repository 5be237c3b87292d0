//! The numbers of the crate against other people's: tables that PyTorch, scikit-learn, scipy and exact fractions gave
//! (`golden/`, each beside the script that made it), and invariants that hold for any input.
#![allow(clippy::unwrap_used)]

mod average;
mod predictions;
mod properties;
mod schedule;

/// Passes where `found` is within `tolerance` of `expected`, relative to the larger of 1 and `expected`.
#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{what}: found {found}, expected {expected} (error {error:e})");
}

#[track_caller]
fn assert_all_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_close(*found, *expected, tolerance, &format!("{what}, value {at}"));
    }
}
