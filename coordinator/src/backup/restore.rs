//! From a backup to a folder that a coordinator can start in.

use super::{BackupError, beside, file};
use crate::data_dir::{DataDir, DataDirError};
use crate::journal::{JournalError, SqliteJournal};
use std::fs;
use std::io;
use std::path::Path;

/// What may lie in the folder already: the artifacts that the journal speaks of, and what no restore changes.
const HARMLESS: [&str; 4] = ["artifacts", "logs", "lock", "instance"];

/// Restores a backup into a folder that no coordinator uses and that has no journal; artifacts may be there. The journal
/// is checked, and brought up to date, before it has its name.
pub fn restore(backup: &Path, folder: &Path) -> Result<(), BackupError> {
    check_free(folder)?;
    let data_dir = DataDir::open(folder).map_err(|error| match error {
        DataDirError::InUse(_) => occupied(folder, "a coordinator works there; stop it, or choose another folder"),
        DataDirError::Unwritable { path, error } => BackupError::Io { path, error },
    })?;
    let (journal, partial) = (data_dir.journal(), beside(&data_dir.journal(), "partial"));
    file::unpack(backup, &partial).and_then(|()| check(backup, &partial)).inspect_err(|_| file::remove(&partial))?;
    let name = || fs::rename(&partial, &journal).and_then(|()| file::sync_folder_of(&journal));
    name().map_err(|error| BackupError::Io { path: journal.clone(), error })
}

fn check_free(folder: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| BackupError::Io { path: folder.to_owned(), error })?,
    };
    for entry in entries {
        let name = entry.map_err(|error| BackupError::Io { path: folder.to_owned(), error })?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            let name = name.display();
            return Err(occupied(folder, &format!("it has `{name}`; move that away, or choose another folder")));
        }
    }
    Ok(())
}

fn occupied(folder: &Path, detail: &str) -> BackupError {
    BackupError::Occupied { folder: folder.to_owned(), detail: detail.to_owned() }
}

fn check(backup: &Path, journal: &Path) -> Result<(), BackupError> {
    let damaged = |error: JournalError| BackupError::Damaged { path: backup.to_owned(), detail: error.to_string() };
    SqliteJournal::open(journal).map(drop).map_err(damaged)
}
