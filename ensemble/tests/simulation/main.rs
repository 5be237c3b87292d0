//! Simulated histories keep every promise: see [`simulator`]. More of them:
//! `cargo run --release -p ensemble --example simulate -- --seeds 100000`.

mod simulator;

use simulator::{campaign, defect::Defect, plan::Plan};

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

/// Each defect, and a sentence that it breaks in some history.
const CAUGHT_BY: [(Defect, &str); 5] = [
    (Defect::AnsweredBeforeWritten, "invariant_what_was_told_is_remembered"),
    (Defect::NoFence, "invariant_nobody_else_believes_in_a_lease"),
    (Defect::ReportsForgotten, "invariant_only_failures_burn_a_budget"),
    (Defect::ChoresForgotten, "liveness_every_job_ends"),
    (Defect::StepTwice, "invariant_nothing_that_happens_changes_a_result"),
];

/// How many histories a defect may pass unnoticed.
const NOTICED_WITHIN: u64 = 1_000;

#[test]
fn every_defect_breaks_its_sentence() {
    let broken = |defect, seed| campaign::history(&Plan { defect: Some(defect), ..Plan::of(seed) }).err();
    for (defect, sentence) in CAUGHT_BY {
        let found = campaign::quietly(|| {
            let breaks = |seed| broken(defect, seed).filter(|broken| broken.name() == sentence);
            (0..NOTICED_WITHIN).find_map(breaks)
        });
        println!("{defect:?}: {:?}", found.as_ref().map(|broken| broken.seed));
        assert!(found.is_some(), "{defect:?} breaks no {sentence}");
    }
}
