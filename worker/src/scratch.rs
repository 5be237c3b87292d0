//! The worker's folder on disk: a cache that outlives it, and scratch that does not.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A worker's data folder, held by this process alone for as long as it lives.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another worker has it.
    #[error("{} is in use by another worker; give each its own --data-dir", .0.display())]
    InUse(PathBuf),
    /// It cannot be made or written.
    #[error("cannot use {} as the data folder: {source}; name another with --data-dir", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DataDir {
    /// Takes the folder, makes it if need be, and clears away what tasks of an earlier worker left.
    ///
    /// # Errors
    /// When another worker has it, or it cannot be written.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(unusable)?;
        // The engine gets paths, and its working directory need not stay what it is.
        let root = root.canonicalize().map_err(unusable)?;
        let lock = File::create(root.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(root)),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let data_dir = Self { root, _lock: lock };
        empty(&data_dir.scratch()).map_err(unusable)?;
        Ok(data_dir)
    }

    /// The folder of the artifact cache.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The folder under which each slot has one for the task at work.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }
}

/// Makes `folder` an empty folder.
///
/// # Errors
/// When the disk does not let it.
pub fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_worker_at_a_time_and_scratch_starts_empty() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("worker");
        let first = DataDir::open(&root).unwrap();
        fs::write(first.scratch().join("left over"), "x").unwrap();
        assert!(matches!(DataDir::open(&root), Err(DataDirError::InUse(_))));

        drop(first);
        let second = DataDir::open(&root).unwrap();
        assert_eq!(fs::read_dir(second.scratch()).unwrap().count(), 0);
    }
}
