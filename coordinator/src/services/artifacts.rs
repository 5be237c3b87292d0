//! `Artifacts`: bytes into the store and out of it.

use super::limits::{CHUNK_BYTES_MAX, CHUNKS_IN_FLIGHT, TRANSFER_STALL, TRANSFERS_MAX};
use super::status::store_status;
use crate::store::{Reader, Store, Upload};
use ensemble::id::Digest;
use ensemble::run::Artifact;
use proto::v1::{self, artifacts_server, upload_request::Message};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Clone, Debug)]
pub struct Artifacts {
    store: Store,
    transfers: Arc<Semaphore>,
}

impl Artifacts {
    /// Serves a store.
    pub fn new(store: Store) -> Self {
        Self { store, transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)) }
    }

    /// Waits for a place among the transfers. It is given up with the thread that does the transfer.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.transfers.clone().acquire_owned().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}

#[tonic::async_trait]
impl artifacts_server::Artifacts for Artifacts {
    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadReply>, Status> {
        let place = self.place().await?;
        let mut messages = request.into_inner();
        let announced = header(next(&mut messages).await?)?;
        let upload = self.store.put(announced).map_err(store_status)?;
        // Hashing and writing block, so they have a thread of their own; the queue is what the two may differ by.
        let (chunks, queue) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let writer = tokio::task::spawn_blocking(move || {
            let received = receive(upload, queue);
            drop(place);
            received
        });
        let sent = forward(messages, chunks).await;
        let received = writer.await.map_err(|_| Status::internal("the upload's thread failed"))?;
        sent?;
        received?;
        Ok(Response::new(v1::UploadReply {}))
    }

    type DownloadStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn download(&self, request: Request<v1::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let place = self.place().await?;
        let digest = parse_digest(request.into_inner().digest)?;
        let reader = self.store.open_artifact(&digest).map_err(store_status)?;
        let (chunks, stream) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            send(reader, &chunks, &runtime);
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The next message of an upload, if it comes in time.
async fn next(messages: &mut Streaming<v1::UploadRequest>) -> Result<Option<v1::UploadRequest>, Status> {
    let stalled =
        |_| Status::deadline_exceeded(format!("the upload did not move for {TRANSFER_STALL:?}; send it again"));
    timeout(TRANSFER_STALL, messages.message()).await.map_err(stalled)?
}

fn header(first: Option<v1::UploadRequest>) -> Result<Artifact, Status> {
    match first.and_then(|request| request.message) {
        Some(Message::Header(header)) => Ok(Artifact { digest: parse_digest(header.digest)?, bytes: header.bytes }),
        _ => Err(Status::invalid_argument("the first message of an upload is its header: digest and bytes")),
    }
}

fn parse_digest(text: String) -> Result<Digest, Status> {
    Digest::try_from(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Hands chunks to the writer. The writer may give up first; its own error then says why. Failing, it leaves through
/// the queue's other end that the upload is not whole.
async fn forward(
    mut messages: Streaming<v1::UploadRequest>,
    chunks: mpsc::Sender<Result<Bytes, Status>>,
) -> Result<(), Status> {
    loop {
        let chunk = match next(&mut messages).await {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => chunk(request),
            Err(broken) => Err(broken),
        };
        let failed = chunk.as_ref().err().cloned();
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        if let Some(status) = failed {
            return Err(status);
        }
    }
}

fn chunk(request: v1::UploadRequest) -> Result<Bytes, Status> {
    match request.message {
        Some(Message::Chunk(chunk)) if chunk.len() <= CHUNK_BYTES_MAX => Ok(chunk),
        Some(Message::Chunk(chunk)) => {
            let problem = format!("a chunk of {} bytes is too large: send at most {CHUNK_BYTES_MAX}", chunk.len());
            Err(Status::invalid_argument(problem))
        }
        _ => Err(Status::invalid_argument("after the header of an upload come chunks")),
    }
}

/// Writes chunks until there are no more, and then makes the artifact exist.
fn receive(mut upload: Upload, mut queue: mpsc::Receiver<Result<Bytes, Status>>) -> Result<(), Status> {
    while let Some(chunk) = queue.blocking_recv() {
        upload.write(&chunk?).map_err(store_status)?;
    }
    upload.commit().map_err(store_status)?;
    Ok(())
}

/// Reads chunks until the end, the client's or the artifact's.
fn send(mut reader: Reader, chunks: &mpsc::Sender<Result<v1::Chunk, Status>>, runtime: &Handle) {
    loop {
        let mut data = vec![0; CHUNK_BYTES_MAX];
        let chunk = match reader.read(&mut data) {
            Ok(0) => return,
            Ok(count) => {
                data.truncate(count);
                Ok(v1::Chunk { data: data.into() })
            }
            Err(error) => Err(store_status(error)),
        };
        let failed = chunk.is_err();
        // A client that reads no more gets an end before its time, which the digest gives away.
        if runtime.block_on(chunks.send_timeout(chunk, TRANSFER_STALL)).is_err() || failed {
            return;
        }
    }
}
