//! The journal: the coordinator's ordered record of everything that changed its state.
//!
//! A [`Command`] enters once it was applied and before anybody hears of it; the page of [`crate::driver`] says why.
//! Replaying the entries in order, each at its own time, rebuilds the cluster exactly.

mod sqlite;

pub use sqlite::SqliteJournal;

use ensemble::cluster::{Command, Millis};
use std::path::PathBuf;

/// One record: a command that was accepted, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was applied, by the coordinator's clock.
    pub at: Millis,
    /// What happened.
    pub command: Command,
}

/// Where entries are kept. SQLite is the one journal today; a database that several coordinators share is the next.
pub trait Journal: Send {
    /// Appends entries, all or none, and returns once they would survive a power failure.
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError>;

    /// Hands over all entries, oldest first.
    fn replay(&mut self, each: &mut dyn FnMut(Entry) -> Result<(), ReplayError>) -> Result<(), JournalError>;
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is of a later version of Tutti.
    #[error(
        "the journal {path} has schema version {found}, this program knows up to {known}; \
         start the version of Tutti that wrote it, or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is no journal, or its content is broken.
    #[error(
        "the journal {path} is damaged: {detail}; restore it from a copy, \
         or move it away to start with an empty cluster"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// An entry cannot be applied to what the entries before it have built.
    #[error(
        "entry {sequence} of the journal {path} cannot be replayed: {error}; \
         start the version of Tutti that wrote it, or move the journal away to start with an empty cluster"
    )]
    Replay {
        /// The file.
        path: PathBuf,
        /// The entry.
        sequence: i64,
        /// Why.
        error: ReplayError,
    },
    /// Another process holds it.
    #[error("the journal {0} is locked by another process; stop that process")]
    Locked(PathBuf),
    /// The disk failed.
    #[error("the journal {path} cannot be used: {detail}; check its disk, its free space and its permissions")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the database says.
        detail: String,
    },
}

/// Why an entry cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReplayError(pub String);
