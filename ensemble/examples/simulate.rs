//! Simulates clusters in which things go wrong: `cargo run --release -p ensemble --example simulate -- --seeds 100000`.
//!
//! `--seeds N` runs N histories, `--from N` begins with another seed than 0, `--seed N` runs one and tells all of it.

#[path = "../tests/simulation/simulator/mod.rs"]
mod simulator;

use simulator::{campaign, plan::Plan};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = option("--seed") {
        campaign::quietly(|| campaign::tell(&Plan::of(seed))).iter().for_each(|line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    let from = option("--from").unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = campaign::run(from..from + option("--seeds").unwrap_or(2_000), threads);
    print!("{report}");
    report.missing().iter().for_each(|fault| println!("never struck: {fault:?}"));
    match report.explain() {
        Some(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
