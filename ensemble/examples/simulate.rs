//! Simulates clusters in which things go wrong: `cargo run --release -p ensemble --example simulate -- --seeds 100000`.

#[path = "../tests/simulation/simulator/mod.rs"]
mod simulator;

use clap::Parser;
use simulator::{campaign, plan::Plan};
use std::process::ExitCode;

/// Simulates clusters in which things go wrong, and checks what must hold all the same.
#[derive(Parser)]
struct Flags {
    /// How many histories are run.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first one's seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs only the history of this seed, and tells all of it.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(seed) = flags.seed {
        campaign::quietly(|| campaign::tell(&Plan::of(seed))).iter().for_each(|line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = campaign::run(flags.from..flags.from.saturating_add(flags.seeds), threads);
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
