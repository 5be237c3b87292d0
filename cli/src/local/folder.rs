//! The folder of a cluster on this machine: who may use it, and what lies where.

use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A folder that this process alone uses, until it ends in whatever way: the kernel gives the lock back.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, which is made where it is missing. A `fresh` one forgets what an earlier cluster left.
    ///
    /// # Errors
    /// Another process uses it, or it cannot be written to.
    pub fn claim(root: &Path, fresh: bool) -> Result<Self> {
        let unwritable =
            || format!("cannot write to {}; make it writable, or name another folder with --data-dir", root.display());
        fs::create_dir_all(root).with_context(unwritable)?;
        let root = root.canonicalize().with_context(unwritable)?;
        let lock = lock(&root).with_context(unwritable)?;
        let folder = Self { root, _lock: lock? };
        if fresh {
            folder.clear().with_context(unwritable)?;
        }
        Ok(folder)
    }

    /// Removes what a cluster leaves, and nothing else that may lie here.
    fn clear(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = name == "coordinator" || name.strip_prefix("worker-").is_some_and(is_number);
            if ours && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Where a process of the cluster keeps its state.
    pub fn of_process(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a process's log goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }

    /// Tells other commands where the coordinator listens.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_endpoint(&self, endpoint: &str) -> Result<()> {
        let file = self.root.join("endpoint");
        fs::write(&file, format!("{endpoint}\n")).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Nobody listens any more.
    pub fn remove_endpoint(&self) {
        let _ = fs::remove_file(self.root.join("endpoint"));
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Locks the folder and notes in the lock who did; or says who has.
fn lock(root: &Path) -> std::io::Result<Result<File>> {
    let mut lock = File::options().create(true).truncate(false).read(true).write(true).open(root.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())?;
            Ok(Ok(lock))
        }
        Err(TryLockError::WouldBlock) => Ok(in_use(root, &mut lock)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn in_use(root: &Path, lock: &mut File) -> Result<File> {
    let mut holder = String::new();
    let _ = lock.read_to_string(&mut holder);
    bail!(
        "another `tutti up` (process {holder}) uses {}; stop it, or name another folder with --data-dir",
        root.display()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_fresh_folder_forgets_a_cluster_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        for name in ["coordinator/artifacts", "worker-12/cache", "worker-x", "mine"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        drop(Folder::claim(root.path(), true).unwrap());
        let mut left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock", "mine", "worker-x"]);
    }

    #[test]
    fn a_folder_belongs_to_one_cluster_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let _first = Folder::claim(root.path(), false).unwrap();
        let error = format!("{:#}", Folder::claim(root.path(), true).unwrap_err());
        assert!(error.contains(&format!("another `tutti up` (process {})", std::process::id())), "{error}");
    }
}
