//! The artifact store: immutable bytes named by their SHA-256, in a folder.
//!
//! An artifact exists under its name or not at all. Bytes are first written under a temporary name, their digest and
//! size are checked, the file is synced, renamed, and the folder is synced: a crash at any moment leaves at most a
//! temporary file, which the next start removes. Three operations are the whole face (put a stream, open, look), so
//! that an object store can stand in for the folder.

mod read;
mod write;

pub use read::Reader;
pub use write::Upload;

use ensemble::id::Digest;
use ensemble::run::Artifact;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// No artifact is larger: 16 GiB hold the training state of four billion parameters in single precision.
pub const ARTIFACT_BYTES_MAX: u64 = 16 << 30;

/// Read at once while a digest is checked: enough to keep a disk busy.
const CHECK_BUFFER_BYTES: usize = 1 << 20;

/// The store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<PathBuf>,
    /// Numbers the temporary files of this process, which has the folder for itself.
    uploads: Arc<AtomicU64>,
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such artifact.
    #[error("there is no artifact {0}")]
    Missing(Digest),
    /// The stored bytes are not the ones that were put there.
    #[error("artifact {digest} is damaged: {found}; restore it from a copy, or remove the file and train again")]
    Damaged {
        /// The artifact.
        digest: Digest,
        /// What is there instead.
        found: String,
    },
    /// The sender announced one thing and sent another.
    #[error("the upload does not match its announcement: {0}; send it again")]
    Mismatch(String),
    /// The sender announced more than the store takes.
    #[error("an artifact of {0} bytes is too large: at most {ARTIFACT_BYTES_MAX} are stored")]
    TooLarge(u64),
    /// What has to fit into memory does not.
    #[error("artifact {digest} has {bytes} bytes, more than the {bytes_max} that are read at once")]
    TooLargeToRead {
        /// The artifact.
        digest: Digest,
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The disk failed.
    #[error("the artifact store at {path} failed: {error}; check its disk and its free space")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Store {
    /// Opens the store in a folder, and removes what uploads of an earlier process left unfinished.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        let store = Self { root: Arc::new(root), uploads: Arc::default() };
        let temporary = store.temporary_folder();
        fs::create_dir_all(&temporary).map_err(|error| io_error(&temporary, error))?;
        let leftovers = fs::read_dir(&temporary).map_err(|error| io_error(&temporary, error))?;
        for leftover in leftovers.flatten() {
            fs::remove_file(leftover.path()).map_err(|error| io_error(&leftover.path(), error))?;
        }
        Ok(store)
    }

    /// Starts to store an artifact that was announced. Nothing exists before [`Upload::commit`].
    pub fn put(&self, announced: Artifact) -> Result<Upload, StoreError> {
        if announced.bytes > ARTIFACT_BYTES_MAX {
            return Err(StoreError::TooLarge(announced.bytes));
        }
        Upload::begin(self.clone(), Some(announced))
    }

    /// Starts to store bytes whose digest is known only at the end.
    pub fn create(&self) -> Result<Upload, StoreError> {
        Upload::begin(self.clone(), None)
    }

    /// Opens an artifact. The reader checks the digest along the way.
    pub fn open_artifact(&self, digest: &Digest) -> Result<Reader, StoreError> {
        Reader::open(self.path(digest), digest.clone())
    }

    /// An artifact's file for random access, after one pass over it that has checked the digest.
    pub fn checked_file(&self, digest: &Digest) -> Result<File, StoreError> {
        let mut reader = self.open_artifact(digest)?;
        let mut buffer = vec![0; CHECK_BUFFER_BYTES];
        while reader.read(&mut buffer)? > 0 {}
        let path = self.path(digest);
        File::open(&path).map_err(|error| StoreError::Io { path, error })
    }

    /// An artifact's bytes, checked, where there are at most `bytes_max`.
    pub fn read(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let mut reader = self.open_artifact(digest)?;
        if reader.bytes() > bytes_max {
            return Err(StoreError::TooLargeToRead { digest: digest.clone(), bytes: reader.bytes(), bytes_max });
        }
        let mut content = vec![0; reader.bytes() as usize];
        let mut filled = 0;
        loop {
            match reader.read(&mut content[filled..])? {
                0 => return Ok(content),
                more => filled += more,
            }
        }
    }

    /// Whether the store holds exactly this.
    pub fn holds(&self, artifact: &Artifact) -> bool {
        fs::metadata(self.path(&artifact.digest)).is_ok_and(|file| file.is_file() && file.len() == artifact.bytes)
    }

    /// Artifacts lie in up to 256 folders by the first two digits, so that no folder grows long.
    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(&digest.as_str()[..2]).join(digest.as_str())
    }

    fn temporary_folder(&self) -> PathBuf {
        self.root.join("temporary")
    }

    fn temporary_path(&self) -> PathBuf {
        self.temporary_folder().join(self.uploads.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

fn digest_of(hash: Sha256) -> Digest {
    let hexadecimal: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::try_from(hexadecimal).expect("a SHA-256 is 64 hexadecimal digits")
}

fn io_error(path: &Path, error: io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned()).unwrap();
        (folder, store)
    }

    fn artifact(content: &[u8]) -> Artifact {
        Artifact { digest: digest_of(Sha256::new_with_prefix(content)), bytes: content.len() as u64 }
    }

    fn put(store: &Store, announced: Artifact, content: &[u8]) -> Result<Artifact, StoreError> {
        let mut upload = store.put(announced)?;
        upload.write(content)?;
        upload.commit()
    }

    /// Every regular file below a folder.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    /// The digest is the one of FIPS 180-2, appendix B.1.
    #[test]
    fn what_is_put_can_be_read() {
        let (_folder, store) = store();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        let announced = Artifact { digest: Digest::try_from(abc).unwrap(), bytes: 3 };
        assert!(!store.holds(&announced));
        assert_eq!(put(&store, announced.clone(), b"abc").unwrap(), announced);
        assert!(store.holds(&announced));
        assert_eq!(store.read(&announced.digest, 3).unwrap(), b"abc");
        assert!(matches!(store.read(&announced.digest, 2), Err(StoreError::TooLargeToRead { bytes: 3, .. })));
    }

    #[test]
    fn a_broken_promise_leaves_nothing() {
        let (folder, store) = store();
        let honest = artifact(b"weights");
        let longer = Artifact { bytes: 8, ..honest.clone() };
        let shorter = Artifact { bytes: 6, ..honest.clone() };
        let other = Artifact { digest: artifact(b"others").digest, ..honest.clone() };
        for (announced, word) in [(longer, "7 bytes"), (shorter, "more than"), (other, "digest")] {
            let error = put(&store, announced, b"weights").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        drop(store.put(honest).unwrap());
        assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_damaged_artifact_is_reported() {
        let (folder, store) = store();
        let stored = put(&store, artifact(b"weights"), b"weights").unwrap();
        fs::write(&files(folder.path())[0], b"weighty").unwrap();
        let error = store.read(&stored.digest, 100).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(matches!(store.checked_file(&stored.digest), Err(StoreError::Damaged { .. })));
        put(&store, stored.clone(), b"weights").unwrap();
        assert_eq!(store.read(&stored.digest, 100).unwrap(), b"weights", "a new upload repairs it");
    }

    #[test]
    fn an_unfinished_upload_is_swept_at_the_next_start() {
        let (folder, store) = store();
        let upload = store.create().unwrap();
        std::mem::forget(upload);
        assert_eq!(files(folder.path()).len(), 1);
        Store::open(folder.path().to_owned()).unwrap();
        assert_eq!(files(folder.path()).len(), 0);
    }
}
