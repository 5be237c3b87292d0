//! A folder of artifacts, each in a file named by its digest. What is found in it is checked before it is believed, so that
//! nothing in it needs to be synced; what was longest not used goes when it grows too large or the disk is full.

use ensemble::id::Digest;
use prost::bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::mpsc;

/// How much is read at a time while hashing.
const BUFFER_BYTES: usize = 1 << 18;
/// The end of the name of a file that is still being written.
const PARTIAL: &str = ".partial";

/// The cache. Its functions touch the disk and may take long; they belong on a thread that may block.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// How often each artifact is in use. Held only to count, never while the disk works.
    uses: Mutex<BTreeMap<Digest, u64>>,
    partials: AtomicU64,
}

/// An artifact in the cache, which stays there at least as long as this lives.
#[derive(Debug)]
pub struct Cached {
    digest: Digest,
    cache: Arc<Cache>,
}

/// Why an artifact did not get into the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The bytes are others than the name stands for.
    #[error(
        "artifact {wanted} arrived damaged: its bytes have the digest {found}; the coordinator's store may be damaged"
    )]
    Damaged {
        /// The artifact asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// There are more or fewer bytes than promised.
    #[error("artifact {digest} should have {promised} bytes, but {arrived} arrived")]
    WrongSize {
        /// The artifact.
        digest: Digest,
        /// How many it should have.
        promised: u64,
        /// How many came before the transfer ended.
        arrived: u64,
    },
    /// The disk failed, or is full.
    #[error("cannot write to the cache {}: {source}", .folder.display())]
    Disk {
        /// The cache's folder.
        folder: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl Cached {
    /// Where the artifact lies.
    pub fn path(&self) -> PathBuf {
        self.cache.path(&self.digest)
    }

    fn new(cache: &Arc<Cache>, digest: &Digest) -> Self {
        *cache.uses().entry(digest.clone()).or_default() += 1;
        Self { digest: digest.clone(), cache: Arc::clone(cache) }
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        let mut uses = self.cache.uses();
        if let Some(count) = uses.get_mut(&self.digest) {
            *count -= 1;
        }
        uses.retain(|_, count| *count > 0);
    }
}

impl Cache {
    /// Opens the cache in `folder`, without what an earlier worker had not written to the end.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: PathBuf, bytes_max: u64) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(PARTIAL) {
                fs::remove_file(path)?;
            }
        }
        Ok(Arc::new(Self { folder, bytes_max, uses: Mutex::default(), partials: AtomicU64::new(0) }))
    }

    /// The artifact, if it is there and sound. A damaged one is removed, so that it is fetched again.
    pub fn find(self: &Arc<Self>, digest: &Digest) -> Option<Cached> {
        let cached = Cached::new(self, digest);
        let mut file = File::open(cached.path()).ok()?;
        if measure(&mut file).is_ok_and(|(found, _)| found == *digest) {
            // The time of last use, for the choice of what has to go. An artifact that cannot be marked goes early.
            let _ = file.set_modified(SystemTime::now());
            return Some(cached);
        }
        tracing::warn!(%digest, "damaged in the cache, fetched again");
        let _ = fs::remove_file(cached.path());
        None
    }

    /// Writes an artifact from its chunks: under a temporary name first, and under its own once its bytes are checked.
    ///
    /// # Errors
    /// When the bytes are not the artifact's, or the disk does not take them.
    pub fn insert(
        self: &Arc<Self>,
        digest: &Digest,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Cached, CacheError> {
        let number = self.partials.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("{digest}.{number}{PARTIAL}"));
        let inserted = self.write(&partial, digest, bytes, chunks).and_then(|()| self.place(&partial, digest));
        if inserted.is_err() {
            let _ = fs::remove_file(&partial);
        }
        inserted
    }

    fn write(
        &self,
        partial: &Path,
        wanted: &Digest,
        promised: u64,
        mut chunks: mpsc::Receiver<Bytes>,
    ) -> Result<(), CacheError> {
        let disk = |source| CacheError::Disk { folder: self.folder.clone(), source };
        let mut file = File::create(partial).map_err(disk)?;
        let (mut hasher, mut arrived) = (Sha256::new(), 0);
        while let Some(chunk) = chunks.blocking_recv() {
            arrived += chunk.len() as u64;
            if arrived > promised {
                break;
            }
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(disk)?;
        }
        if arrived != promised {
            return Err(CacheError::WrongSize { digest: wanted.clone(), promised, arrived });
        }
        let found = digest_of(hasher);
        if found != *wanted {
            return Err(CacheError::Damaged { wanted: wanted.clone(), found });
        }
        Ok(())
    }

    fn place(self: &Arc<Self>, file: &Path, digest: &Digest) -> Result<Cached, CacheError> {
        let cached = Cached::new(self, digest);
        let placed = fs::rename(file, cached.path()).and_then(|()| self.shrink_to(self.bytes_max).map(drop));
        placed.map_err(|source| CacheError::Disk { folder: self.folder.clone(), source })?;
        Ok(cached)
    }

    /// Takes over a file whose digest is known.
    ///
    /// # Errors
    /// When the disk does not let it.
    pub fn adopt(self: &Arc<Self>, file: &Path, digest: &Digest) -> Result<(), CacheError> {
        self.place(file, digest).map(drop)
    }

    /// Removes everything that is not in use, and says how many artifacts that were.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn clear(&self) -> io::Result<usize> {
        self.shrink_to(0)
    }

    /// Removes what was longest not used and is not in use now, until the rest fits.
    fn shrink_to(&self, bytes_max: u64) -> io::Result<usize> {
        let mut removed = 0;
        let mut entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_by_key(|entry| entry.used);
        for entry in entries {
            if total <= bytes_max {
                break;
            }
            if !self.uses().contains_key(&entry.digest) && fs::remove_file(self.path(&entry.digest)).is_ok() {
                total -= entry.bytes;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let Ok(digest) = Digest::try_from(file.file_name().to_string_lossy().into_owned()) else { continue };
            // Another thread may just have removed it.
            let Ok(metadata) = file.metadata() else { continue };
            entries.push(Entry { digest, bytes: metadata.len(), used: metadata.modified()? });
        }
        Ok(entries)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.as_str())
    }

    fn uses(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Entry {
    digest: Digest,
    bytes: u64,
    used: SystemTime,
}

/// The digest and the length of what remains of a stream.
///
/// # Errors
/// When it cannot be read.
pub fn measure(stream: &mut impl Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER_BYTES]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok((digest_of(hasher), bytes)),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

fn digest_of(hasher: Sha256) -> Digest {
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        write!(text, "{byte:02x}").expect("a string takes all text");
    }
    Digest::try_from(text).expect("a SHA-256 has 64 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn named(bytes: &[u8]) -> Digest {
        measure(&mut &*bytes).unwrap().0
    }

    fn chunks(bytes: &[u8]) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(8);
        bytes.chunks(3).for_each(|chunk| sender.try_send(Bytes::copy_from_slice(chunk)).unwrap());
        receiver
    }

    fn insert(cache: &Arc<Cache>, bytes: &[u8]) -> Result<Cached, CacheError> {
        cache.insert(&named(bytes), bytes.len() as u64, chunks(bytes))
    }

    fn files(cache: &Cache) -> usize {
        fs::read_dir(&cache.folder).unwrap().count()
    }

    #[test]
    fn a_digest_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(named(b"abc").as_str(), expected);
    }

    #[test]
    fn what_is_damaged_or_of_the_wrong_size_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), 100).unwrap();
        let wanted = named(b"right");
        assert!(matches!(cache.insert(&wanted, 5, chunks(b"wrong")), Err(CacheError::Damaged { .. })));
        assert!(matches!(cache.insert(&wanted, 5, chunks(b"righ")), Err(CacheError::WrongSize { arrived: 4, .. })));
        assert!(matches!(cache.insert(&wanted, 5, chunks(b"right, and more")), Err(CacheError::WrongSize { .. })));
        assert_eq!(files(&cache), 0);
    }

    #[test]
    fn a_damaged_entry_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), 100).unwrap();
        let path = insert(&cache, b"right").unwrap().path();
        assert!(cache.find(&named(b"right")).is_some());
        fs::write(&path, b"wrong").unwrap();
        assert!(cache.find(&named(b"right")).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), 20).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        let age = |cached: &Cached, seconds| {
            let file = File::options().write(true).open(cached.path()).unwrap();
            file.set_modified(long_ago + Duration::from_secs(seconds)).unwrap();
        };
        let in_use = insert(&cache, b"oldest, but in use").unwrap();
        age(&in_use, 0);
        age(&insert(&cache, b"a").unwrap(), 2);
        age(&insert(&cache, b"b").unwrap(), 1);
        insert(&cache, b"c").unwrap();

        let found = [&b"oldest, but in use"[..], b"a", b"b", b"c"].map(|bytes| cache.find(&named(bytes)).is_some());
        assert_eq!(found, [true, true, false, true]);
        assert_eq!(cache.clear().unwrap(), 2, "what is in use stays even if the disk is full");
        assert!(in_use.path().exists());
    }

    #[test]
    fn half_written_files_of_an_earlier_worker_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join(format!("{}.0{PARTIAL}", named(b"x")));
        fs::write(&partial, b"half").unwrap();
        Cache::open(folder.path().to_owned(), 100).unwrap();
        assert!(!partial.exists());
    }
}
