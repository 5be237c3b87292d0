//! What a user is promised when anything at all dies, stops, is cut off or full: the same bits as if nothing had happened.
#![allow(clippy::unwrap_used)]

use tests::chaos::{Amount, Fault, Keeping, chaos};

/// Any other seed gives the same faults in another order; see `cargo run --release -p tests --bin soak`.
const SEED: u64 = 1;
/// So that there are more than fifty faults.
const ROUNDS: usize = 3;

#[test]
fn no_fault_changes_a_bit_of_what_jobs_yield() {
    let tally = chaos(Keeping::Folder, SEED, Amount::Rounds(ROUNDS));
    println!("{tally}");
    assert!(tally.faults() >= 50);
    // Elsewhere a machine may have neither libfiu nor the right to mount, which the test says aloud.
    let of_a_bucket = [Fault::CutStore, Fault::SilenceStore];
    for fault in Fault::ALL.into_iter().filter(|fault| !of_a_bucket.contains(fault)) {
        assert!(std::env::var_os("CI").is_none() || tally.inflicted(fault) == ROUNDS, "{fault:?}");
    }
    for fault in [Fault::KillWorker, Fault::LoseWorker, Fault::FreezeWorker, Fault::SilenceConnections] {
        assert!(tally.anew(fault) > 0, "no run was taken over from a lost worker after {fault:?}");
    }
    assert!(tally.kept(Fault::CutConnections) > 0, "no run went on through cut connections");
    for fault in [Fault::KillCoordinator, Fault::FreezeCoordinator, Fault::DrainCoordinator] {
        assert!(tally.kept(fault) > 0 && tally.anew(fault) == 0, "{fault:?} took leases from workers that went on");
    }
    assert_eq!(tally.deserted, 0, "a process ended though nobody had asked for it");
    // Late results are mostly held back by the workers themselves: the coordinator may have none to refuse.
    assert!(tally.found_out("damaged") > 0 && tally.found_out("given up") > 0);
}
