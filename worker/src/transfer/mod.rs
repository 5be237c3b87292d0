//! Artifacts on their way: from the coordinator into the cache, and from an engine's files to the coordinator.

mod cache;

pub use cache::{Cache, CacheError, Cached};

use crate::backoff::Backoff;
use ensemble::id::{Digest, InvalidDigest};
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::upload_request::Message;
use proto::v1::{Artifact, DownloadRequest, UploadHeader, UploadRequest};
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The size of a chunk: large enough that its overhead is nothing, small enough for any message limit.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks between the disk and the network.
const CHUNKS_ON_THE_WAY: usize = 4;
/// A coordinator that restarts is back within this time; a task waits no longer for it.
const RETRY_WITHIN: Duration = Duration::from_secs(120);

/// Moves artifacts. Clones share one connection, which is not the session's, so that bulk delays no heartbeat.
#[derive(Clone, Debug)]
pub struct Transfer {
    client: ArtifactsClient<Channel>,
    cache: Arc<Cache>,
}

/// Why an artifact did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The coordinator refused, or could not be reached for too long.
    #[error("cannot {verb} artifact {digest}: {} ({:?})", .status.message(), .status.code())]
    Refused {
        /// `upload` or `download`.
        verb: &'static str,
        /// The artifact.
        digest: Digest,
        /// The coordinator's answer.
        status: Box<Status>,
    },
    /// The coordinator's message names no artifact.
    #[error("the coordinator names an artifact `{name}`, but {source}")]
    Unnamed {
        /// The name it gave.
        name: String,
        /// What is wrong with it.
        source: InvalidDigest,
    },
    /// The bytes are not those that the name stands for, or the cache cannot take them.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file to be uploaded cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime is shutting down.
    #[error("the transfer was given up: {0}")]
    GivenUp(#[from] JoinError),
}

impl TransferError {
    /// Whether trying again may help: the coordinator was not there, or too busy.
    fn is_passing(&self) -> bool {
        let passing = [Code::Unavailable, Code::ResourceExhausted, Code::Cancelled, Code::Unknown];
        matches!(self, Self::Refused { status, .. } if passing.contains(&status.code()))
    }
}

impl Transfer {
    /// Moves artifacts over `channel`, and keeps them in `cache`.
    pub fn new(channel: Channel, cache: Arc<Cache>) -> Self {
        Self { client: ArtifactsClient::new(channel), cache }
    }

    /// The artifact as a file: from the cache if it is there and sound, else from the coordinator.
    ///
    /// # Errors
    /// When it cannot be had within the time for retries, or is not what its name says.
    pub async fn fetch(&self, artifact: &Artifact) -> Result<Cached, TransferError> {
        let unnamed = |source| TransferError::Unnamed { name: artifact.digest.clone(), source };
        let digest = Digest::try_from(artifact.digest.clone()).map_err(unnamed)?;
        let (cache, wanted) = (Arc::clone(&self.cache), digest.clone());
        if let Some(cached) = spawn_blocking(move || cache.find(&wanted)).await? {
            return Ok(cached);
        }
        persistently(|| self.download(&digest, artifact.bytes)).await
    }

    async fn download(&self, digest: &Digest, bytes: u64) -> Result<Cached, TransferError> {
        let refused = |status| refused("download", digest, status);
        let request = DownloadRequest { digest: digest.to_string() };
        let mut stream = self.client.clone().download(request).await.map_err(refused)?.into_inner();
        let (chunks, arriving) = mpsc::channel(CHUNKS_ON_THE_WAY);
        let (cache, name) = (Arc::clone(&self.cache), digest.clone());
        let writing = spawn_blocking(move || cache.insert(&name, bytes, arriving));
        let reading = async move {
            while let Some(chunk) = stream.message().await? {
                if chunks.send(chunk.data).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let (read, written) = tokio::join!(reading, writing);
        read.map_err(refused)?;
        Ok(written??)
    }

    /// Brings a file to the coordinator and says what it is called there.
    ///
    /// # Errors
    /// When the file cannot be read, or the coordinator does not take it within the time for retries.
    pub async fn store(&self, path: &Path) -> Result<Artifact, TransferError> {
        let owned = path.to_owned();
        let (digest, bytes) = spawn_blocking(move || measure(&owned)).await??;
        persistently(|| self.upload(path, &digest, bytes)).await?;
        Ok(Artifact { digest: digest.into(), bytes })
    }

    async fn upload(&self, path: &Path, digest: &Digest, bytes: u64) -> Result<(), TransferError> {
        let (messages, outgoing) = mpsc::channel(CHUNKS_ON_THE_WAY);
        let header = UploadHeader { digest: digest.to_string(), bytes };
        let owned = path.to_owned();
        let reading = spawn_blocking(move || send_file(&owned, header, &messages));
        let mut client = self.client.clone();
        let uploading = client.upload(ReceiverStream::new(outgoing));
        let (uploaded, read) = tokio::join!(uploading, reading);
        read??;
        uploaded.map_err(|status| refused("upload", digest, status))?;
        Ok(())
    }

    /// Moves a file that the coordinator has into the cache: what was made here is often needed here again.
    pub async fn keep(&self, path: PathBuf, artifact: &Artifact) {
        let Ok(digest) = Digest::try_from(artifact.digest.clone()) else { return };
        let cache = Arc::clone(&self.cache);
        let kept = spawn_blocking(move || cache.adopt(&path, &digest)).await;
        if let Ok(Err(error)) = kept {
            tracing::debug!(%error, "a stored artifact is not kept in the cache");
        }
    }
}

fn refused(verb: &'static str, digest: &Digest, status: Status) -> TransferError {
    TransferError::Refused { verb, digest: digest.clone(), status: Box::new(status) }
}

/// Tries until it works, it cannot work, or the time for retries is over.
async fn persistently<T, F>(attempt: impl Fn() -> F) -> Result<T, TransferError>
where
    F: Future<Output = Result<T, TransferError>>,
{
    let deadline = Instant::now() + RETRY_WITHIN;
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Err(error) if error.is_passing() && Instant::now() < deadline => {
                tracing::debug!(%error, "trying again");
                tokio::time::sleep(backoff.next()).await;
            }
            outcome => return outcome,
        }
    }
}

fn measure(path: &Path) -> Result<(Digest, u64), TransferError> {
    let unreadable = |source| TransferError::Unreadable { path: path.to_owned(), source };
    cache::measure(&mut File::open(path).map_err(unreadable)?).map_err(unreadable)
}

/// Sends the header and then the file in chunks. Ends early when nobody takes them any more: the answer says why.
fn send_file(path: &Path, header: UploadHeader, messages: &mpsc::Sender<UploadRequest>) -> Result<(), TransferError> {
    let unreadable = |source| TransferError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut message = Message::Header(header);
    loop {
        if messages.blocking_send(UploadRequest { message: Some(message) }).is_err() {
            return Ok(());
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map_err(unreadable)?;
        if chunk.is_empty() {
            return Ok(());
        }
        message = Message::Chunk(chunk.into());
    }
}
