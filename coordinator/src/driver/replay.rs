//! From the journal back to the cluster.

use crate::journal::{Journal, JournalError, RULES, Recorded, Sequence, Snapshot};
use ensemble::cluster::{Cluster, Millis, Settings};

/// What a journal has brought back.
#[derive(Debug)]
pub struct Restored {
    /// The cluster as it was.
    pub cluster: Cluster,
    /// The newest entry; 0 if there is none.
    pub sequence: Sequence,
    /// When that was applied.
    pub last: Millis,
    /// How many entries were applied again.
    pub replayed: u64,
    /// How many of these were written under other rules than today's.
    pub outdated: u64,
    /// How many of the outdated ones do not count any more.
    pub skipped: u64,
    /// The entry after which the state was last kept; 0 if it never was.
    pub kept: Sequence,
}

/// Takes up the newest state that was kept, and applies the commands after it again, each at its time. Effects are not
/// acted on a second time.
///
/// What today's rules have recorded, they accept again; anything else means that the journal is not what it was. What
/// older rules have recorded may meet another state than it did then: a lease that was granted to another worker, for one.
/// A report under it is then as good as late, and its task is done again.
pub fn replay(settings: Settings, journal: &mut dyn Journal) -> Result<Restored, JournalError> {
    let mut restored = Restored::kept(settings, journal)?;
    loop {
        let page = journal.read(restored.sequence)?;
        if page.is_empty() {
            return Ok(restored);
        }
        page.into_iter().try_for_each(|recorded| restored.take(recorded, journal.name()))?;
    }
}

impl Restored {
    /// The newest state that can be read, or that of an empty cluster.
    fn kept(settings: Settings, journal: &mut dyn Journal) -> Result<Self, JournalError> {
        let mut before = Sequence::MAX;
        while let Some(Snapshot { sequence, at, state }) = journal.newest_snapshot(before)? {
            match Cluster::restore(settings, &mut serde_json::Deserializer::from_str(&state)) {
                Ok(cluster) => return Ok(Self::at(cluster, sequence, at)),
                Err(error) => {
                    tracing::warn!(sequence, %error, "a kept state cannot be read; the one before it is used")
                }
            }
            before = sequence;
        }
        Ok(Self::at(Cluster::new(settings), 0, 0))
    }

    fn at(cluster: Cluster, sequence: Sequence, last: Millis) -> Self {
        Self { cluster, sequence, last, replayed: 0, outdated: 0, skipped: 0, kept: sequence }
    }

    fn take(&mut self, recorded: Recorded, journal: &str) -> Result<(), JournalError> {
        let Recorded { sequence, rules, entry } = recorded;
        if sequence != self.sequence + 1 {
            let detail = format!("the entries {} to {} are missing", self.sequence + 1, sequence - 1);
            return Err(JournalError::Damaged { journal: journal.to_owned(), detail });
        }
        let outdated = rules < RULES;
        match self.cluster.apply(entry.at, entry.command) {
            Ok(_) => {}
            Err(_) if outdated => self.skipped += 1,
            Err(rejection) => {
                let detail = rejection.to_string();
                return Err(JournalError::Replay { journal: journal.to_owned(), sequence, detail });
            }
        }
        self.sequence = sequence;
        self.last = entry.at;
        self.replayed += 1;
        self.outdated += u64::from(outdated);
        Ok(())
    }
}
