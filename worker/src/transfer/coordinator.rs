//! Artifacts by way of the coordinator.

use super::cache::{self, Cache, Cached};
use super::error::TransferError;
use crate::endpoint::endpoint;
use ensemble::id::Digest;
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::upload_request::Message;
use proto::v1::{DownloadRequest, UploadHeader, UploadRequest};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Uri};

/// The size of a chunk: large enough that its overhead is nothing, small enough for any message limit.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks between the disk and the network.
pub const CHUNKS_ON_THE_WAY: usize = 4;

/// The coordinator that moves artifacts. The connection is not the session's, so that bulk delays no heartbeat.
#[derive(Debug)]
pub struct Coordinator(Mutex<(Uri, ArtifactsClient<Channel>)>);

impl Coordinator {
    /// The coordinator at `address`.
    pub fn new(address: &Uri) -> Self {
        Self(Mutex::new(connection(address)))
    }

    /// From now on, the one at `address`.
    pub fn turn_to(&self, address: &Uri) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != *address {
            *current = connection(address);
        }
    }

    fn client(&self) -> ArtifactsClient<Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Brings an artifact into the cache.
    pub async fn download(&self, digest: &Digest, bytes: u64, cache: &Arc<Cache>) -> Result<Cached, TransferError> {
        let refused = |status| refused("download", digest, status);
        let request = DownloadRequest { digest: digest.to_string() };
        let mut stream = self.client().download(request).await.map_err(refused)?.into_inner();
        let (chunks, arriving) = mpsc::channel(CHUNKS_ON_THE_WAY);
        let (cache, name) = (Arc::clone(cache), digest.clone());
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

    /// Brings a file to the coordinator.
    pub async fn upload(&self, path: &Path, digest: &Digest, bytes: u64) -> Result<(), TransferError> {
        let (messages, outgoing) = mpsc::channel(CHUNKS_ON_THE_WAY);
        let header = UploadHeader { digest: digest.to_string(), bytes };
        let owned = path.to_owned();
        let reading = spawn_blocking(move || send_file(&owned, header, &messages));
        let mut client = self.client();
        let uploading = client.upload(ReceiverStream::new(outgoing));
        let (uploaded, read) = tokio::join!(uploading, reading);
        read??;
        uploaded.map_err(|status| refused("upload", digest, status))?;
        Ok(())
    }
}

fn connection(address: &Uri) -> (Uri, ArtifactsClient<Channel>) {
    (address.clone(), ArtifactsClient::new(endpoint(address).connect_lazy()))
}

fn refused(verb: &'static str, digest: &Digest, status: Status) -> TransferError {
    TransferError::Refused { verb, digest: digest.clone(), status: Box::new(status) }
}

/// The digest and the length of a file.
pub fn measure(path: &Path) -> Result<(Digest, u64), TransferError> {
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
