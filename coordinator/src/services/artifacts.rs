//! `Artifacts`: bytes into the store and out of it.

use super::limits::{CHUNK_BYTES_MAX, CHUNKS_IN_FLIGHT, TRANSFER_STALL, TRANSFERS_MAX};
use super::status::store_status;
use crate::collection::Claims;
use artifacts::{Reader, Store, Upload};
use ensemble::id::Digest;
use ensemble::run::Artifact;
use proto::v1::{self, artifacts_server, upload_request::Message};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Clone, Debug)]
pub struct Artifacts {
    store: Store,
    claims: Claims,
    transfers: Arc<Semaphore>,
}

impl Artifacts {
    /// Serves a store.
    pub fn new(store: Store, claims: Claims) -> Self {
        Self { store, claims, transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)) }
    }

    /// Waits for a place among the transfers.
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
        let _place = self.place().await?;
        let mut messages = request.into_inner();
        let announced = header(next(&mut messages).await?)?;
        let digest = announced.digest.clone();
        let mut upload = self.store.put(announced).map_err(store_status)?;
        if let Err(broken) = receive(messages, &mut upload).await {
            upload.abandon().await;
            return Err(broken);
        }
        // A collector that is about to remove the artifact's last copy must be done before there is a new one.
        let _claim = self.claims.claim(&digest).await;
        upload.commit().await.map_err(store_status)?;
        Ok(Response::new(v1::UploadReply {}))
    }

    type DownloadStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn download(&self, request: Request<v1::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let place = self.place().await?;
        let digest = parse_digest(request.into_inner().digest)?;
        let reader = self.store.get(&digest).await.map_err(store_status)?;
        let (chunks, stream) = mpsc::channel(CHUNKS_IN_FLIGHT);
        tokio::spawn(async move {
            send(reader, chunks).await;
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

/// Takes chunks until there are no more.
async fn receive(mut messages: Streaming<v1::UploadRequest>, upload: &mut Upload) -> Result<(), Status> {
    while let Some(request) = next(&mut messages).await? {
        upload.write(chunk(request)?).await.map_err(store_status)?;
    }
    Ok(())
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

/// Sends chunks until the end, the client's or the artifact's.
async fn send(mut reader: Reader, chunks: mpsc::Sender<Result<v1::Chunk, Status>>) {
    loop {
        let chunk = match reader.next().await {
            Ok(None) => return,
            Ok(Some(data)) => Ok(v1::Chunk { data }),
            Err(error) => Err(store_status(error)),
        };
        let failed = chunk.is_err();
        // A client that reads no more gets an end before its time, which the digest gives away.
        if chunks.send_timeout(chunk, TRANSFER_STALL).await.is_err() || failed {
            return;
        }
    }
}
