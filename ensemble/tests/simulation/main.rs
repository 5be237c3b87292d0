//! Simulated histories keep every promise: see [`simulator`]. More of them:
//! `cargo run --release -p ensemble --example simulate -- --seeds 100000`.

mod simulator;

use simulator::{campaign, plan::Plan};

const SEEDS: u64 = 2_000;

#[test]
fn two_thousand_histories_keep_every_promise() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = campaign::run(0..SEEDS, threads);
    println!("{report}");
    if let Some(failure) = report.explain() {
        panic!("{failure}");
    }
    assert!(report.missing().is_empty(), "faults that never struck show nothing: {:?}", report.missing());
}

#[test]
fn a_history_is_a_function_of_its_seed() {
    assert_eq!(campaign::tell(&Plan::of(7)), campaign::tell(&Plan::of(7)));
}
