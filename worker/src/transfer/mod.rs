//! Artifacts on their way: from the store into the cache, and from an engine's files into the store; by way of the
//! coordinator, or directly where the worker was told where the store is.

mod cache;
mod coordinator;
mod error;
mod persistence;

pub use cache::{Cache, CacheError, Cached};
pub use error::TransferError;
pub use persistence::{Narrator, Persistence};

use crate::gate::Gate;
use artifacts::Store;
use coordinator::{CHUNKS_ON_THE_WAY, Coordinator, measure};
use ensemble::id::Digest;
use proto::v1::Artifact;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tonic::transport::Uri;

/// Moves artifacts. Clones share all they have.
#[derive(Clone, Debug)]
pub struct Transfer {
    way: Way,
    gate: Gate,
    cache: Arc<Cache>,
}

/// Which way artifacts go.
#[derive(Clone, Debug)]
enum Way {
    Coordinator(Arc<Coordinator>),
    Store(Store),
}

impl Transfer {
    /// Moves artifacts by way of the coordinator at `address`, those of leases only while the gate is open, and keeps them
    /// in `cache`.
    pub fn by_coordinator(address: &Uri, gate: Gate, cache: Arc<Cache>) -> Self {
        Self { way: Way::Coordinator(Arc::new(Coordinator::new(address))), gate, cache }
    }

    /// Moves them to and from the store itself.
    pub fn by_store(store: Store, gate: Gate, cache: Arc<Cache>) -> Self {
        Self { way: Way::Store(store), gate, cache }
    }

    /// The coordinator is at `address` now.
    pub fn turn_to(&self, address: &Uri) {
        if let Way::Coordinator(coordinator) = &self.way {
            coordinator.turn_to(address);
        }
    }

    /// The artifact as a file: from the cache if it is there and sound, else from the store.
    ///
    /// # Errors
    /// When it cannot be had for all persistence, or is not what its name says.
    pub async fn fetch(&self, artifact: &Artifact, persistence: &Persistence<'_>) -> Result<Cached, TransferError> {
        let unnamed = |source| TransferError::Unnamed { name: artifact.digest.clone(), source };
        let digest = Digest::try_from(artifact.digest.clone()).map_err(unnamed)?;
        let (cache, wanted) = (Arc::clone(&self.cache), digest.clone());
        if let Some(cached) = spawn_blocking(move || cache.find(&wanted)).await? {
            return Ok(cached);
        }
        let attempt = || async {
            match &self.way {
                Way::Coordinator(coordinator) => coordinator.download(&digest, artifact.bytes, &self.cache).await,
                Way::Store(store) => download(store, &digest, artifact.bytes, &self.cache).await,
            }
        };
        persistence.persist(&self.gate, attempt, || self.make_room()).await
    }

    /// Stores a file and says what it is called there.
    ///
    /// # Errors
    /// When the file cannot be read, or the store does not take it for all persistence.
    pub async fn store(&self, path: &Path, persistence: &Persistence<'_>) -> Result<Artifact, TransferError> {
        let owned = path.to_owned();
        let (digest, bytes) = spawn_blocking(move || measure(&owned)).await??;
        let attempt = || async {
            match &self.way {
                Way::Coordinator(coordinator) => coordinator.upload(path, &digest, bytes).await,
                Way::Store(store) => Ok(store.put_file(path).await.map(drop)?),
            }
        };
        persistence.persist(&self.gate, attempt, || self.make_room()).await?;
        Ok(Artifact { digest: digest.into(), bytes })
    }

    /// Moves a file that is in the store into the cache: what was made here is often needed here again.
    pub async fn keep(&self, path: PathBuf, artifact: &Artifact) {
        let Ok(digest) = Digest::try_from(artifact.digest.clone()) else { return };
        let cache = Arc::clone(&self.cache);
        let kept = spawn_blocking(move || cache.adopt(&path, &digest)).await;
        if let Ok(Err(error)) = kept {
            tracing::debug!(%error, "a stored artifact is not kept in the cache");
        }
    }

    /// Removes everything from the cache that is not in use: the disk is full.
    pub async fn make_room(&self) {
        let cache = Arc::clone(&self.cache);
        match spawn_blocking(move || cache.clear()).await {
            Ok(Ok(removed)) => tracing::warn!(removed, "the disk is full, the cache was cleared"),
            failed => tracing::warn!(?failed, "the disk is full, and the cache cannot be cleared"),
        }
    }
}

/// Brings an artifact from the store into the cache, which checks it once more.
async fn download(store: &Store, digest: &Digest, bytes: u64, cache: &Arc<Cache>) -> Result<Cached, TransferError> {
    let mut reader = store.get(digest).await?;
    let (chunks, arriving) = mpsc::channel(CHUNKS_ON_THE_WAY);
    let (cache, name) = (Arc::clone(cache), digest.clone());
    let writing = spawn_blocking(move || cache.insert(&name, bytes, arriving));
    let reading = async move {
        while let Some(chunk) = reader.next().await? {
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        Ok::<_, TransferError>(())
    };
    let (read, written) = tokio::join!(reading, writing);
    read?;
    Ok(written??)
}
