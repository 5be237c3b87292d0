//! The real coordinator and the real session of a worker, over a simulated network and in simulated time: everything
//! between the two but libtorch and the kernel. Seeded weather cuts, delays and half-opens connections and kills
//! processes; the job must end, and its models and its report must be those of fair weather.
//!
//! `TUTTI_SEEDS=1000 cargo test --release -p tests --test network` tries more, `TUTTI_SEED=7` one alone.
#![allow(clippy::unwrap_used)]

mod bytes;
mod crew;
mod oracle;
mod weather;
mod wires;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use weather::{FAULTS, Fault};
use world::simulate;

/// Simulations with every test run.
const SEEDS: u64 = 20;
/// Five runs of six epochs.
const EPOCHS: u64 = 30;

#[test]
fn foul_weather_changes_nothing_but_the_time_it_takes() {
    let fair = simulate(0, false);
    assert_eq!(
        (fair.oracle.epochs(), fair.oracle.attempts()),
        (EPOCHS, 10),
        "five trainings and five evaluations, once"
    );
    let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
    let (mut epochs, mut reattachments, mut simulations) = (0, 0, 0);
    for seed in seeds() {
        let foul = simulate(seed, true);
        assert_eq!(foul.outcome, fair.outcome, "seed {seed}");
        foul.faults.into_iter().for_each(|(fault, count)| *counts.entry(fault).or_default() += count);
        epochs += foul.oracle.epochs();
        reattachments += foul.oracle.reattachments();
        simulations += 1;
    }
    println!("{simulations} simulations; faults: {counts:?}; {reattachments} attempts outlived a session;");
    println!("{epochs} epochs trained for {} that count", simulations * EPOCHS);
    if simulations >= SEEDS {
        assert!(FAULTS.iter().all(|fault| counts.contains_key(fault)), "a fault never came: {counts:?}");
        assert!(reattachments > 0, "no attempt outlived a session");
    }
}

fn seeds() -> Range<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    match number("TUTTI_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TUTTI_SEEDS").unwrap_or(SEEDS),
    }
}
