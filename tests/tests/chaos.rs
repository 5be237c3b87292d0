//! What a user is promised when anything at all dies, stops, is cut off or full: the same bits as if nothing had happened.
#![allow(clippy::unwrap_used)]

use tests::chaos::{Amount, Fault, chaos};

/// Any other seed gives the same faults in another order; see `cargo run --release -p tests --bin soak`.
const SEED: u64 = 1;
/// So that there are more than fifty faults.
const ROUNDS: usize = 3;

#[test]
fn no_fault_changes_a_bit_of_what_jobs_yield() {
    let tally = chaos(SEED, Amount::Rounds(ROUNDS));
    println!("{tally}");
    assert!(tally.faults() >= 50);
    for fault in Fault::ALL {
        assert!(std::env::var_os("CI").is_none() || tally.inflicted(fault) == ROUNDS, "{fault:?}");
    }
}
