//! Backups of the embedded journal: taken while a coordinator runs, checked when they are restored.
//!
//! A backup is one file: a line with the format's version, the size and the SHA-256 of what follows, then the journal as
//! an SQLite database of one moment. It holds what the cluster knows: jobs, tasks, leases, reports, and the names of all
//! artifacts. Artifacts themselves are not in it, nor logs: they are immutable, named by their digest and never rewritten,
//! so any copy of the store that was made *after* the backup has all that the backup refers to. An artifact that is
//! missing after a restore is made again by the task that made it.
//!
//! A journal in PostgreSQL is backed up with PostgreSQL's own tools.

mod file;
mod restore;

pub use restore::restore;

use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a coordinator's backups come from. Clones are the same.
#[derive(Clone, Debug)]
pub enum Source {
    /// From this SQLite journal.
    Embedded(PathBuf),
    /// From nowhere: the database has its own backups.
    Database,
}

/// Why there is no backup, or no restored journal.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The journal is not in a file.
    #[error("the journal is in a database; back it up with pg_dump, or with the database's own backups")]
    InDatabase,
    /// There is nothing to back up.
    #[error("there is no journal {0}; name a coordinator's folder with --data-dir")]
    NoJournal(PathBuf),
    /// The journal cannot be read.
    #[error("the journal {path} cannot be backed up: {detail}")]
    Journal {
        /// The journal.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A backup is never written over anything.
    #[error("{0} exists already; choose another name, or move it away")]
    Exists(PathBuf),
    /// The file is no backup, not whole, or not what it was.
    #[error("the backup {path} cannot be restored: {detail}; use another copy")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A coordinator works in the folder, or has.
    #[error("{folder} is no place to restore to: {detail}")]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// What is there.
        detail: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Source {
    /// Writes a backup to a new file, which exists whole or not at all. Blocks; a coordinator that writes meanwhile is
    /// not held up, and what it writes later is not in the backup. How many bytes the backup has.
    pub fn write_to(&self, file: &Path) -> Result<u64, BackupError> {
        let Self::Embedded(journal) = self else { return Err(BackupError::InDatabase) };
        if !journal.exists() {
            return Err(BackupError::NoJournal(journal.clone()));
        }
        if file.exists() {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let copy = beside(file, "journal");
        let written = copy_journal(journal, &copy).and_then(|()| file::pack(&copy, file));
        file::remove(&copy);
        written
    }
}

/// Numbers the backups that have no name.
static NAMELESS: AtomicU64 = AtomicU64::new(0);

impl Source {
    /// A backup as a file without a name, beside the journal: it is gone once it is closed.
    pub fn nameless(&self) -> Result<File, BackupError> {
        let Self::Embedded(journal) = self else { return Err(BackupError::InDatabase) };
        let path = beside(journal, &format!("backup-{}", NAMELESS.fetch_add(1, Ordering::Relaxed)));
        file::remove(&path);
        self.write_to(&path)?;
        let opened = File::open(&path).map_err(|error| BackupError::Io { path: path.clone(), error });
        file::remove(&path);
        opened
    }
}

/// SQLite's own copy: one consistent moment, without the log and without holes.
fn copy_journal(journal: &Path, copy: &Path) -> Result<(), BackupError> {
    file::remove(copy);
    let unreadable =
        |error: rusqlite::Error| BackupError::Journal { path: journal.to_owned(), detail: error.to_string() };
    let connection = Connection::open_with_flags(journal, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(unreadable)?;
    let copy = copy.to_str().ok_or_else(|| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the name is not UTF-8");
        BackupError::Io { path: copy.to_owned(), error }
    })?;
    connection.execute("VACUUM INTO ?1", [copy]).map(drop).map_err(unreadable)
}

/// A scratch file in the same folder.
fn beside(file: &Path, what: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}
