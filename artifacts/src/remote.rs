//! Artifacts in an object store.
//!
//! ```text
//!  PREFIX/artifacts/ab12…  an artifact
//!  PREFIX/uploads/…        a note for each multipart upload that has begun and neither been completed nor aborted
//! ```
//!
//! Small artifacts are put in one request; larger ones in parts, which become an object once all of them have arrived
//! and their digest was found right. Objects are overwritten, not created on the condition that there is none: equal
//! bytes under the same name harm nobody, and repair what is damaged.

mod connect;
mod errors;
#[cfg(test)]
mod in_memory;
mod notes;
mod parts;

pub(crate) use parts::Parts;

use crate::scratch::{LocalFile, Room, Scratch};
use crate::source::Source;
use crate::store::Stored;
use crate::{CHUNK_BYTES, Location, StoreError};
use bytes::{Bytes, BytesMut};
use ensemble::id::Digest;
use ensemble::run::Artifact;
use errors::{failed, failed_for};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use notes::Notes;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use std::io::{Seek, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Every part but the last has this size: above the least that stores take (5 MiB), and the largest artifact has not more
/// parts than they take (10,000).
const PART_BYTES: usize = 8 << 20;

/// How many parts of all uploads together may be on their way: with the size of a part, what they hold in memory.
const PARTS_ON_THE_WAY: usize = 16;

/// How many artifacts are brought to the scratch folder at once.
const FETCHES_AT_ONCE: usize = 4;

/// What an object store must be able to do.
trait Objects: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> Objects for T {}

/// The object store. Clones are the same store; several processes may use it at once.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// How it is called in errors.
    location: Arc<str>,
    objects: Arc<dyn Objects>,
    artifacts: Path,
    notes: Notes,
    scratch: Scratch,
    /// Every part of an upload but the last has this size.
    part_bytes: usize,
    part_slots: Arc<Semaphore>,
    /// Where requests run that a thread outside of the runtime makes.
    runtime: Handle,
}

impl Remote {
    fn new(location: &Location, prefix: &Path, objects: Arc<dyn Objects>, scratch: Scratch) -> Self {
        let location: Arc<str> = location.to_string().into();
        Self {
            notes: Notes::new(location.clone(), objects.clone(), prefix.clone().join("uploads")),
            artifacts: prefix.clone().join("artifacts"),
            part_bytes: PART_BYTES,
            part_slots: Arc::new(Semaphore::new(PARTS_ON_THE_WAY)),
            runtime: Handle::current(),
            location,
            objects,
            scratch,
        }
    }

    /// Finds out at the start what is wrong for good, by asking for an artifact that cannot be. Of all requests this is the
    /// one whose refusal says why. A store that does not answer may come back.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        let nothing = Digest::try_from("0".repeat(64)).expect("that is 64 hexadecimal digits");
        match self.objects.get(&self.path(&nothing)).await.map_err(|error| failed_for(&self.location, &nothing, error))
        {
            Err(error @ StoreError::Unavailable { .. }) => tracing::warn!(%error, "the artifact store does not answer"),
            Ok(_) | Err(StoreError::Missing(_)) => (),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Where the chunks of an announced artifact go.
    pub(crate) fn parts(&self, digest: &Digest) -> Parts {
        Parts::new(self.clone(), self.path(digest))
    }

    /// An artifact's chunks from its start. Blocks.
    pub(crate) fn source(&self, digest: &Digest) -> Result<Source, StoreError> {
        let (location, wanted, runtime) = (self.location.clone(), digest.clone(), self.runtime.clone());
        let got = runtime.block_on(self.objects.get(&self.path(digest)));
        let got = got.map_err(|error| failed_for(&location, digest, error))?;
        let (bytes, mut pieces, mut gathered) = (got.meta.size, got.into_stream(), BytesMut::new());
        let next = move || {
            let chunk = runtime.block_on(next_chunk(&mut pieces, &mut gathered));
            chunk.map_err(|error| failed_for(&location, &wanted, error))
        };
        Ok(Source::new(digest.clone(), bytes, next))
    }

    /// Artifacts as files in the scratch folder. Blocks.
    pub(crate) fn checked_files(&self, artifacts: &[Artifact]) -> Result<Vec<LocalFile>, StoreError> {
        self.runtime.block_on(async {
            let room = self.scratch.room(artifacts.iter().map(|artifact| artifact.bytes).sum()).await?;
            let fetches = artifacts.iter().map(|artifact| {
                let (remote, artifact, room) = (self.clone(), artifact.clone(), room.clone());
                spawn_blocking(move || remote.fetch(&artifact, room))
            });
            let fetches = stream::iter(fetches).buffered(FETCHES_AT_ONCE);
            fetches.map(|fetched| fetched.unwrap_or(Err(StoreError::GivenUp))).try_collect().await
        })
    }

    fn fetch(&self, artifact: &Artifact, room: Room) -> Result<LocalFile, StoreError> {
        let mut source = self.source(&artifact.digest)?;
        if source.bytes() != artifact.bytes {
            let found = format!("it has {} bytes of {}", source.bytes(), artifact.bytes);
            return Err(StoreError::Damaged { digest: artifact.digest.clone(), found });
        }
        let mut file = self.scratch.file()?;
        while let Some(chunk) = source.next()? {
            file.write_all(&chunk).map_err(StoreError::io(self.scratch.folder()))?;
        }
        file.rewind().map_err(StoreError::io(self.scratch.folder()))?;
        Ok(LocalFile::new(file, Some(room)))
    }

    pub(crate) async fn head(&self, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        match self.objects.head(&self.path(digest)).await {
            Ok(meta) => Ok(Some(stored(digest.clone(), &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&self.location, error)),
        }
    }

    pub(crate) fn list(&self) -> BoxStream<'static, Result<Stored, StoreError>> {
        let location = self.location.clone();
        let listed = self.objects.list(Some(&self.artifacts)).map_err(move |error| failed(&location, error));
        // What is no artifact by its name is none of ours.
        let named = |meta: ObjectMeta| async move {
            let digest = meta.location.filename().and_then(|name| Digest::try_from(name.to_owned()).ok());
            Ok(digest.map(|digest| stored(digest, &meta)))
        };
        listed.try_filter_map(named).boxed()
    }

    pub(crate) async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&self.location, error)),
        }
    }

    pub(crate) async fn sweep(&self, age_min: Duration) -> Result<u64, StoreError> {
        self.notes.sweep(age_min).await
    }

    fn path(&self, digest: &Digest) -> Path {
        self.artifacts.clone().join(digest.as_str())
    }
}

/// Pieces come in the size of a network's packets, which would make every step after this one dear.
async fn next_chunk(
    pieces: &mut BoxStream<'static, object_store::Result<Bytes>>,
    gathered: &mut BytesMut,
) -> object_store::Result<Option<Bytes>> {
    while gathered.len() < CHUNK_BYTES {
        match pieces.try_next().await? {
            Some(piece) => gathered.extend_from_slice(&piece),
            None => break,
        }
    }
    let chunk = gathered.split_to(gathered.len().min(CHUNK_BYTES)).freeze();
    Ok((!chunk.is_empty()).then_some(chunk))
}

fn stored(digest: Digest, meta: &ObjectMeta) -> Stored {
    Stored { artifact: Artifact { digest, bytes: meta.size }, modified: meta.last_modified.into() }
}
