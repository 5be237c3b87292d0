//! From the journal back to the cluster.

use crate::journal::{Entry, Journal, JournalError, ReplayError};
use ensemble::cluster::{Cluster, Millis, Settings};

/// What a journal has brought back.
#[derive(Debug)]
pub struct Restored {
    /// The cluster as it was.
    pub cluster: Cluster,
    /// The time of the newest entry.
    pub last: Millis,
    /// How many entries there were.
    pub entries: u64,
}

/// Applies the journal's commands again, each at its time. Effects are not acted on a second time.
pub fn replay(settings: Settings, journal: &mut dyn Journal) -> Result<Restored, JournalError> {
    let mut restored = Restored { cluster: Cluster::new(settings), last: 0, entries: 0 };
    journal.replay(&mut |Entry { at, command }| {
        restored.cluster.apply(at, command).map_err(|rejection| ReplayError(rejection.to_string()))?;
        restored.last = at;
        restored.entries += 1;
        Ok(())
    })?;
    Ok(restored)
}
