//! The coordinator's folder: who may use it, and what lies where.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long the folder's lock is waited for.
const LOCK_WITHIN: Duration = Duration::from_secs(1);

/// A data folder that this process alone uses. The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    /// Held, never read: the kernel gives the lock back when it is closed.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another coordinator works there.
    #[error("another coordinator uses {0}; stop it, or name another folder with --data-dir")]
    InUse(PathBuf),
    /// It cannot be made or written to.
    #[error(
        "cannot write to the data folder {path}: {error}; make it writable for this user, or name another with --data-dir"
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl DataDir {
    /// Makes the folder where it is missing, and takes it for this process.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let unwritable = |error| DataDirError::Unwritable { path: root.to_owned(), error };
        for folder in [root.to_owned(), root.join("artifacts"), root.join("logs")] {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        let lock =
            File::options().create(true).truncate(false).write(true).open(root.join("lock")).map_err(unwritable)?;
        match take(&lock) {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => Err(unwritable(error)),
        }
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        Self::journal_in(&self.root)
    }

    /// The journal's file in a folder that another process may use.
    pub fn journal_in(root: &Path) -> PathBuf {
        root.join("journal.sqlite")
    }

    /// A name that no other folder has, made at the first question: whoever holds this folder is the only living
    /// coordinator of that name. It begins with the machine's name, for people.
    pub fn instance(&self) -> Result<String, DataDirError> {
        let path = self.root.join("instance");
        let name = || match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = random_name()?;
                // Two coordinators whose names were cut off alike would take the lead from one another for ever.
                let unfinished = self.root.join("instance.new");
                fs::write(&unfinished, &name)?;
                File::open(&unfinished)?.sync_all()?;
                fs::rename(&unfinished, &path)?;
                Ok(name)
            }
            name => name,
        };
        name().map_err(|error| DataDirError::Unwritable { path: path.clone(), error })
    }

    /// The folder of the artifact store.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// The folder for copies of what lies in an object store.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// The folder of the jobs' logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

/// Takes the lock, waiting a moment for one who is about to let go of it: a process that ends, or one that was forked off
/// it in just that moment and has a copy until it runs its own program.
fn take(lock: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + LOCK_WITHIN;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            tried => return tried,
        }
    }
}

fn random_name() -> io::Result<String> {
    let mut random = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "coordinator".into());
    Ok(format!("{}-{:016x}", machine.trim(), u64::from_le_bytes(random)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_coordinator_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let second = DataDir::open(folder.path()).unwrap_err();
        assert!(second.to_string().contains("another coordinator uses"), "{second}");
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()) && error.contains("--data-dir"), "{error}");
    }
}
