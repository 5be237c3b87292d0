//! The journal: the coordinator's ordered record of everything that changed its state.
//!
//! A [`Command`] enters once it was applied and before anybody hears of it; the page of [`crate::driver`] says why.
//! Replaying the entries in order, each at its own time, rebuilds the cluster exactly. So that this does not take longer
//! with every day, the whole state is written down now and then as a [`Snapshot`], and replay begins at the newest. Two
//! snapshots and the entries since the older one are kept: a snapshot that cannot be read costs a longer replay, no more.
//!
//! Every entry has a number, and whoever appends says which: an append whose answer was lost is simply asked again, and
//! what is there already is not written twice.

mod encoded;
pub mod postgres;
mod snapshot;
pub mod sqlite;

pub use postgres::PostgresJournal;
pub use snapshot::Snapshot;
pub use sqlite::SqliteJournal;

use ensemble::cluster::{Command, Millis};
pub(crate) use snapshot::hex;

/// The number of an entry, from 1, without gaps.
pub type Sequence = u64;

/// The rules by which the cluster decides, raised when the same commands lead to another state than before. Entries that
/// were written under older rules are replayed with patience: see [`crate::driver::replay`].
pub const RULES: u32 = 3;

/// How many entries are read at once: enough to make the way to a database cheap, few enough to hold in memory.
pub const PAGE: usize = 1_000;

/// One record: a command that was accepted, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was applied, by the coordinator's clock.
    pub at: Millis,
    /// What happened.
    pub command: Command,
}

/// An entry as it is read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its number.
    pub sequence: Sequence,
    /// The [`RULES`] that it was decided under.
    pub rules: u32,
    /// What was recorded.
    pub entry: Entry,
}

/// Where entries are kept.
pub trait Journal: Send {
    /// Appends entries, of which the first has the number `first`, all or none, and returns once they would survive a
    /// power failure. Those that are there already are not written again, so that a failed append can be repeated
    /// whatever came of it.
    fn append(&mut self, first: Sequence, entries: &[Entry]) -> Result<(), JournalError>;

    /// At most [`PAGE`] entries after that number, oldest first; none at the journal's end.
    fn read(&mut self, after: Sequence) -> Result<Vec<Recorded>, JournalError>;

    /// Keeps a state, and forgets what no replay needs any more.
    fn keep_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), JournalError>;

    /// The newest state among those of entries before that number.
    fn newest_snapshot(&mut self, before: Sequence) -> Result<Option<Snapshot>, JournalError>;

    /// What people call it: a path, or a database without its password.
    fn name(&self) -> &str;
}

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is of a later version of Tutti.
    #[error(
        "the journal {journal} has schema version {found}, this program knows up to {known}; \
         start the version of Tutti that wrote it, or a later one"
    )]
    Newer {
        /// Which journal.
        journal: String,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// It is no journal, or its content is broken.
    #[error(
        "the journal {journal} is damaged: {detail}; restore it from a backup, \
         or move it away to start with an empty cluster"
    )]
    Damaged {
        /// Which journal.
        journal: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An entry cannot be applied to what the entries before it have built.
    #[error(
        "entry {sequence} of the journal {journal} cannot be replayed: {detail}; \
         start the version of Tutti that wrote it, or move the journal away to start with an empty cluster"
    )]
    Replay {
        /// Which journal.
        journal: String,
        /// The entry.
        sequence: Sequence,
        /// Why.
        detail: String,
    },
    /// Another coordinator leads now. Nothing was written.
    #[error("another coordinator has taken over ({leader}); this one wrote nothing since, and steps down")]
    Deposed {
        /// Who leads, and since which epoch.
        leader: String,
    },
    /// Another process holds it.
    #[error("the journal {0} is locked by another process; stop that process")]
    Locked(String),
    /// The disk failed, or the database.
    #[error("the journal {journal} cannot be used: {detail}; {remedy}")]
    Failed {
        /// Which journal.
        journal: String,
        /// What the disk or the database says.
        detail: String,
        /// What to look at.
        remedy: &'static str,
    },
}

impl JournalError {
    /// Whether it may pass by itself or by an operator's help, so that waiting is right: a full disk, a lost database.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::Failed { .. })
    }
}
