//! The store's face for asynchronous code.

use crate::folder::Folder;
use crate::hasher::{Intake, measure};
use crate::remote::Remote;
use crate::sink::{Sink, pump};
use crate::source::{Source, read_chunk};
use crate::{CHUNK_BYTES, Draft, Location, Reader, Scratch, StoreError, Upload};
use ensemble::id::Digest;
use ensemble::run::Artifact;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

/// The store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) place: Place,
}

/// What is known of a stored artifact without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name and size.
    pub artifact: Artifact,
    /// When it was last put there, by the store's clock.
    pub modified: SystemTime,
}

impl Stored {
    /// How long ago it was last put there; none if that is in the future.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Folder(Folder),
    Remote(Remote),
}

impl Store {
    /// Opens the store, with credentials and options from the environment: `AWS_*`, `GOOGLE_*` or `AZURE_*`. What lies in
    /// an object store is brought to `scratch` where it is needed as a file.
    ///
    /// # Errors
    /// When the place cannot be used as it is. A store that does not answer is no error: it may come back.
    pub async fn open(location: &Location, scratch: Scratch) -> Result<Self, StoreError> {
        Self::open_with(location, scratch, std::env::vars()).await
    }

    /// [`Store::open`] with another environment.
    ///
    /// # Errors
    /// See [`Store::open`].
    pub async fn open_with(
        location: &Location,
        scratch: Scratch,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        match location {
            Location::Folder(folder) => Self::open_folder(folder.clone()),
            Location::Remote(url) => {
                let remote = Remote::connect(url, scratch, environment)?;
                remote.probe().await?;
                Ok(Self { place: Place::Remote(remote) })
            }
        }
    }

    /// Opens the store in a folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open_folder(folder: PathBuf) -> Result<Self, StoreError> {
        Ok(Self { place: Place::Folder(Folder::open(folder)?) })
    }

    /// Opens the store of another program: one in a folder must be there already.
    ///
    /// # Errors
    /// When there is none, or it cannot be used as it is.
    pub async fn join(
        location: &Location,
        scratch: Scratch,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        match location {
            Location::Folder(folder) => Ok(Self { place: Place::Folder(Folder::find(folder.clone())?) }),
            Location::Remote(_) => Self::open_with(location, scratch, environment).await,
        }
    }

    /// Starts to store an artifact that was announced. Nothing exists before [`Upload::commit`].
    ///
    /// # Errors
    /// When it is larger than an artifact may be.
    pub fn put(&self, announced: Artifact) -> Result<Upload, StoreError> {
        Upload::begin(self.place.clone(), announced)
    }

    /// Stores a file, and says what it is called.
    ///
    /// # Errors
    /// When it cannot be read or stored, or changes meanwhile.
    pub async fn put_file(&self, path: &Path) -> Result<Artifact, StoreError> {
        let (store, path) = (self.clone(), path.to_owned());
        off_thread(move || {
            let file = File::open(&path).map_err(StoreError::io(&path))?;
            match &store.place {
                Place::Folder(_) => copy(file, &path, store.blocking_draft()?),
                Place::Remote(remote) => upload(file, &path, remote),
            }
        })
        .await
    }

    /// Starts to read an artifact.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn get(&self, digest: &Digest) -> Result<Reader, StoreError> {
        Reader::open(self.place.clone(), digest.clone()).await
    }

    /// Brings an artifact to `path`: once that name exists, it holds the whole artifact, checked and synced.
    ///
    /// # Errors
    /// When there is no such artifact, it is damaged, or the store or the disk fails.
    pub async fn fetch_file(&self, digest: &Digest, path: &Path) -> Result<(), StoreError> {
        let (place, digest, path) = (self.place.clone(), digest.clone(), path.to_owned());
        off_thread(move || fetch(place.source(&digest)?, &path)).await
    }

    /// Reads an artifact from its start to its end, to see whether it is what its name says.
    ///
    /// # Errors
    /// When there is no such artifact, it is damaged, or the store fails.
    pub async fn check(&self, digest: &Digest) -> Result<(), StoreError> {
        let (place, digest) = (self.place.clone(), digest.clone());
        off_thread(move || {
            let mut source = place.source(&digest)?;
            while source.next()?.is_some() {}
            Ok(())
        })
        .await
    }

    /// What is known of an artifact without reading it; none if there is no such artifact.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn head(&self, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        match &self.place {
            Place::Remote(remote) => remote.head(digest).await,
            Place::Folder(folder) => {
                let (folder, digest) = (folder.clone(), digest.clone());
                off_thread(move || folder.head(&digest)).await
            }
        }
    }

    /// Whether the store holds exactly this, as far as can be said without reading it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn holds(&self, artifact: &Artifact) -> Result<bool, StoreError> {
        Ok(self.head(&artifact.digest).await?.is_some_and(|stored| stored.artifact == *artifact))
    }

    /// All artifacts, in no order.
    ///
    /// # Errors
    /// The stream ends with an error when the store fails.
    pub fn list(&self) -> BoxStream<'static, Result<Stored, StoreError>> {
        match &self.place {
            Place::Remote(remote) => remote.list(),
            Place::Folder(folder) => {
                let folder = folder.clone();
                let lists = stream::iter(0..=u8::MAX).then(move |begin| {
                    let folder = folder.clone();
                    off_thread(move || folder.list(begin))
                });
                lists.map_ok(|listed| stream::iter(listed.into_iter().map(Ok))).try_flatten().boxed()
            }
        }
    }

    /// Removes an artifact; fine if there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match &self.place {
            Place::Remote(remote) => remote.remove(digest).await,
            Place::Folder(folder) => {
                let (folder, digest) = (folder.clone(), digest.clone());
                off_thread(move || folder.remove(&digest)).await
            }
        }
    }

    /// Removes what uploads have left whose process was killed: whatever is older than `age_min`. Says how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep_unfinished(&self, age_min: Duration) -> Result<u64, StoreError> {
        match &self.place {
            Place::Remote(remote) => remote.sweep(age_min).await,
            Place::Folder(folder) => {
                let folder = folder.clone();
                off_thread(move || folder.sweep(age_min)).await
            }
        }
    }
}

impl Place {
    pub(crate) fn begin(&self, digest: &Digest) -> Result<Sink, StoreError> {
        match self {
            Self::Folder(folder) => Ok(Sink::Folder(folder.clone(), folder.begin()?)),
            Self::Remote(remote) => Ok(Sink::Remote(Box::new(remote.parts(digest)))),
        }
    }

    pub(crate) fn source(&self, digest: &Digest) -> Result<Source, StoreError> {
        match self {
            Self::Folder(folder) => folder.source(digest),
            Self::Remote(remote) => remote.source(digest),
        }
    }
}

/// In a folder, a file gets its name once it is there: one pass is enough.
fn copy(mut file: File, path: &Path, mut draft: Draft) -> Result<Artifact, StoreError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(StoreError::io(path))? {
            0 => return draft.commit(),
            count => draft.write_all(&chunk[..count]).map_err(StoreError::io(path))?,
        }
    }
}

/// In an object store, an upload begins with its name; so the first pass finds it, and the second holds the bytes against
/// it.
fn upload(mut file: File, path: &Path, remote: &Remote) -> Result<Artifact, StoreError> {
    let artifact = measure(&mut file).map_err(StoreError::io(path))?;
    file.rewind().map_err(StoreError::io(path))?;
    let sink = Sink::Remote(Box::new(remote.parts(&artifact.digest)));
    pump(sink, Intake::new(artifact)?, || read_chunk(&mut file).map_err(StoreError::io(path)))
}

fn fetch(mut source: Source, path: &Path) -> Result<(), StoreError> {
    let failed = StoreError::io;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(failed(folder))?;
    while let Some(chunk) = source.next()? {
        file.write_all(&chunk).map_err(failed(path))?;
    }
    file.as_file().sync_all().map_err(failed(path))?;
    file.persist(path).map_err(|error| StoreError::Io { path: path.to_owned(), error: error.error })?;
    Ok(())
}

/// Does what blocks where it may.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or(Err(StoreError::GivenUp))
}
