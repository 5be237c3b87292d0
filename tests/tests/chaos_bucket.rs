//! The same promise where artifacts lie on an S3 server, which can be away as well. A program of its own, so that no two
//! clusters share two cores.
#![allow(clippy::unwrap_used)]

use tests::chaos::{Amount, Fault, Keeping, chaos};

/// See `chaos.rs`.
const SEED: u64 = 1;

#[test]
fn no_fault_changes_a_bit_of_what_jobs_yield_when_artifacts_are_elsewhere() {
    let tally = chaos(Keeping::Bucket, SEED, Amount::Rounds(1));
    println!("{tally}");
    assert_eq!((tally.inflicted(Fault::CutStore), tally.inflicted(Fault::SilenceStore)), (1, 1));
}
