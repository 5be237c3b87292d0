//! Greedy selection: `cargo bench -p ensemble --bench select`.
//!
//! 40 candidates, 10,000 samples, 25 rounds, one thread, n = 10: the setting in which AutoGluon 1.6.3's
//! `EnsembleSelection` takes 5.0 s on two cores. Prints the median, least and most seconds.
#![allow(clippy::unwrap_used, missing_docs)]

use ensemble::combine::{ROUNDS, select};
use std::time::Instant;

const CANDIDATES: usize = 40;
const SAMPLES: usize = 10_000;

fn main() {
    let bench = std::env::args().any(|argument| argument == "--bench");
    let candidates: Vec<_> = (0..CANDIDATES as u64).map(true_class).collect();
    let mut seconds: Vec<_> = (0..if bench { 10 } else { 1 })
        .map(|_| {
            let start = Instant::now();
            let selection = select(&candidates, ROUNDS).unwrap();
            assert!(selection.chosen.len() > 1, "one candidate alone is best, which is no test");
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let [least, median, most] = [0, seconds.len() / 2, seconds.len() - 1].map(|at| seconds[at]);
    println!("{CANDIDATES} candidates, {SAMPLES} samples, {ROUNDS} rounds: {median:.4} s [{least:.4} .. {most:.4}]");
}

/// Probabilities between 0.05 and 1, from a linear congruential generator of their own for each candidate.
fn true_class(seed: u64) -> Vec<f64> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        0.05 + 0.95 * (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    std::iter::repeat_with(next).take(SAMPLES).collect()
}
