//! Artifacts in a folder.
//!
//! ```text
//!  root/ab/ab12…    an artifact: up to 256 folders by the first two digits, so that none grows long
//!  root/temporary/  files that are being written, or that a crash has left
//! ```
//!
//! This is not `object_store`'s own `LocalFileSystem`, although that can sync files and folders too: what a crash leaves
//! of it lies beside the objects under names that its face neither lists nor removes, so nobody could sweep it. Also,
//! averages need the files themselves, and a hop to another thread for each part would cost more than writing it.

use crate::StoreError;
use crate::hasher::{check, measure};
use crate::scratch::LocalFile;
use crate::source::{Source, read_chunk};
use crate::store::Stored;
use ensemble::id::Digest;
use ensemble::run::Artifact;
use std::fs::{self, DirEntry, File, Metadata, TryLockError};
use std::io::{self, Seek};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// The folder. Clones are the same folder; several processes may use it at once.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: Arc<PathBuf>,
}

impl Folder {
    /// The folder as a store that others have made, and not a new one.
    pub(crate) fn find(root: PathBuf) -> Result<Self, StoreError> {
        let folder = Self { root: Arc::new(root) };
        folder.check_mounted().map(|()| folder)
    }

    pub(crate) fn open(root: PathBuf) -> Result<Self, StoreError> {
        let folder = Self { root: Arc::new(root) };
        let temporary = folder.temporary();
        fs::create_dir_all(&temporary).map_err(StoreError::io(&temporary))?;
        Ok(folder)
    }

    /// A new file for what shall become an artifact; removed when it is dropped.
    pub(crate) fn begin(&self) -> Result<NamedTempFile, StoreError> {
        let temporary = self.temporary();
        loop {
            let file = NamedTempFile::new_in(&temporary).map_err(StoreError::io(&temporary))?;
            if hold(file.as_file()).map_err(StoreError::io(file.path()))? {
                return Ok(file);
            }
        }
    }

    /// Makes the file an artifact. Once this has returned, the artifact survives a power failure.
    pub(crate) fn publish(&self, file: NamedTempFile, artifact: &Artifact) -> Result<(), StoreError> {
        file.as_file().sync_all().map_err(StoreError::io(file.path()))?;
        let path = self.path(&artifact.digest);
        let parent = path.parent().expect("an artifact lies in a folder of the store");
        fs::create_dir_all(parent).map_err(StoreError::io(parent))?;
        file.persist(&path).map_err(|failed| StoreError::Io { path: path.clone(), error: failed.error })?;
        // The new name, and the folder if it is new, are only safe once the folders themselves are.
        sync_folder(parent)?;
        sync_folder(&self.root)
    }

    /// An artifact's file, at its start, and its size.
    pub(crate) fn file(&self, digest: &Digest) -> Result<(File, u64), StoreError> {
        let path = self.path(digest);
        let opened = File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match found(opened, &path)? {
            Some(opened) => Ok(opened),
            None => self.check_mounted().and(Err(StoreError::Missing(digest.clone()))),
        }
    }

    /// An artifact's chunks from its start.
    pub(crate) fn source(&self, digest: &Digest) -> Result<Source, StoreError> {
        let (mut file, bytes) = self.file(digest)?;
        let path = self.path(digest);
        let chunks = move || read_chunk(&mut file).map_err(StoreError::io(&path));
        Ok(Source::new(digest.clone(), bytes, chunks))
    }

    /// Artifacts as files, after their digests were checked. Hashing costs more than what follows, so it is spread over
    /// the cores.
    pub(crate) fn checked_files(&self, artifacts: &[Artifact]) -> Result<Vec<LocalFile>, StoreError> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = artifacts.len().div_ceil(threads).max(1);
        let open = |part: &[Artifact]| part.iter().map(|artifact| self.checked_file(&artifact.digest)).collect();
        thread::scope(|scope| {
            let parts: Vec<_> = artifacts.chunks(share).map(|part| scope.spawn(move || open(part))).collect();
            let opened = parts.into_iter().map(|part| part.join().expect("reading and hashing do not panic"));
            Ok(opened.collect::<Result<Vec<Vec<_>>, _>>()?.into_iter().flatten().collect())
        })
    }

    fn checked_file(&self, digest: &Digest) -> Result<LocalFile, StoreError> {
        let (mut file, _) = self.file(digest)?;
        let path = self.path(digest);
        let found = measure(&mut file).map_err(StoreError::io(&path))?;
        check(digest, &found)?;
        file.rewind().map_err(StoreError::io(&path))?;
        Ok(LocalFile::new(file, None))
    }

    /// What is known of an artifact without reading it.
    pub(crate) fn head(&self, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        let path = self.path(digest);
        let metadata = found(fs::metadata(&path), &path)?;
        let metadata = metadata.filter(Metadata::is_file);
        if metadata.is_none() {
            self.check_mounted()?;
        }
        metadata.map(|metadata| stored(digest.clone(), &metadata, &path)).transpose()
    }

    /// The artifacts whose digests begin with these eight bits.
    pub(crate) fn list(&self, begin: u8) -> Result<Vec<Stored>, StoreError> {
        let folder = self.root.join(format!("{begin:02x}"));
        let mut listed = Vec::new();
        for (entry, metadata) in entries(&folder)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (Ok(digest), true) = (Digest::try_from(name), metadata.is_file()) {
                listed.push(stored(digest, &metadata, &entry.path())?);
            }
        }
        Ok(listed)
    }

    /// Removes an artifact; fine if there is none.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        remove_file(&self.path(digest)).map(drop)
    }

    /// Removes what crashes have left: files that nobody has written to for as long as `age_min`, and that nobody holds.
    pub(crate) fn sweep(&self, age_min: Duration) -> Result<u64, StoreError> {
        let (mut swept, now) = (0, SystemTime::now());
        for (entry, metadata) in entries(&self.temporary())? {
            let written = metadata.modified().map_err(StoreError::io(&entry.path()))?;
            if now.duration_since(written).unwrap_or_default() >= age_min {
                swept += u64::from(remove_unheld(&entry.path())?);
            }
        }
        Ok(swept)
    }

    /// Of a store whose file system is not mounted, nothing is to be believed lost.
    fn check_mounted(&self) -> Result<(), StoreError> {
        if self.temporary().is_dir() {
            return Ok(());
        }
        let detail = "its folder has gone; is it mounted?".to_owned();
        Err(StoreError::Unavailable { location: self.root.display().to_string(), detail })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(&digest.as_str()[..2]).join(digest.as_str())
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("temporary")
    }
}

/// What is in a folder, without what goes while it is looked at; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<(DirEntry, Metadata)>, StoreError> {
    let mut entries = Vec::new();
    for entry in found(fs::read_dir(folder), folder)?.into_iter().flatten() {
        let entry = entry.map_err(StoreError::io(folder))?;
        if let Some(metadata) = found(entry.metadata(), &entry.path())? {
            entries.push((entry, metadata));
        }
    }
    Ok(entries)
}

fn stored(digest: Digest, metadata: &Metadata, path: &Path) -> Result<Stored, StoreError> {
    let modified = metadata.modified().map_err(StoreError::io(path))?;
    Ok(Stored { artifact: Artifact { digest, bytes: metadata.len() }, modified })
}

/// Keeps sweepers off a file for as long as it is open; false if one of them was faster. The lock goes with the process,
/// however that ends. Where a file system has no locks, age alone keeps sweepers off.
fn hold(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(false),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file.metadata()?.nlink() > 0),
    }
}

/// Removes a file unless somebody holds it. Whether there was something to remove.
fn remove_unheld(path: &Path) -> Result<bool, StoreError> {
    let Some(file) = found(File::open(path), path)? else { return Ok(false) };
    // The lock is kept while the file is removed, so that nobody begins to use it.
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(false),
        Ok(()) | Err(TryLockError::Error(_)) => remove_file(path),
    }
}

/// Whether there was something to remove.
fn remove_file(path: &Path) -> Result<bool, StoreError> {
    Ok(found(fs::remove_file(path), path)?.is_some())
}

/// Nothing where there is no such file.
fn found<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io(folder))
}
