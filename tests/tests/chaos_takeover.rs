//! What a user is promised of two coordinators on one database: one leads, whatever becomes of the other.
#![allow(clippy::unwrap_used)]

use tests::chaos::{Blow, takeovers};

/// See `chaos.rs`.
const SEED: u64 = 1;

#[test]
fn the_lead_changes_hands_and_no_bit_of_what_jobs_yield() {
    let Some(takeovers) = takeovers(SEED, 1) else { return };
    println!("{takeovers}");
    assert_eq!(takeovers.blows.len(), Blow::ALL.len());
    assert!(takeovers.jobs > 0 && takeovers.kept > 0, "{takeovers}");
}
