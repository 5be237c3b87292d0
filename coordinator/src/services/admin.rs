//! `Admin`: what operators ask.

use super::limits::{CHUNK_BYTES_MAX, CHUNKS_IN_FLIGHT};
use super::status::{apply_status, backup_status, collect_status};
use crate::Shared;
use crate::collection::Collected;
use ensemble::cluster::{Cluster, Command};
use ensemble::id::{Digest, WorkerId};
use proto::v1::{self, admin_server};
use std::fs::File;
use std::io::Read;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Admin {
    shared: Shared,
}

impl Admin {
    /// Serves operators.
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    async fn order<T: Default>(&self, command: Command) -> Result<Response<T>, Status> {
        self.shared.driver.try_apply(command).await.map_err(apply_status)?;
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl admin_server::Admin for Admin {
    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerReply>, Status> {
        self.order(Command::Drain { worker: WorkerId::new(request.into_inner().worker) }).await
    }

    async fn reinstate_worker(
        &self,
        request: Request<v1::ReinstateWorkerRequest>,
    ) -> Result<Response<v1::ReinstateWorkerReply>, Status> {
        self.order(Command::Reinstate { worker: WorkerId::new(request.into_inner().worker) }).await
    }

    async fn set_share(&self, request: Request<v1::SetShareRequest>) -> Result<Response<v1::SetShareReply>, Status> {
        let v1::SetShareRequest { namespace, weight } = request.into_inner();
        self.order(Command::SetShare { namespace, weight }).await
    }

    async fn list_shares(&self, _: Request<v1::ListSharesRequest>) -> Result<Response<v1::ListSharesReply>, Status> {
        let shares = self.shared.driver.try_inspect(Cluster::shares).await.map_err(apply_status)?;
        Ok(Response::new(v1::ListSharesReply { shares: shares.into_iter().map(Into::into).collect() }))
    }

    async fn pin(&self, request: Request<v1::PinRequest>) -> Result<Response<v1::PinReply>, Status> {
        self.order(Command::Pin { digest: digest(request.into_inner().digest)? }).await
    }

    async fn unpin(&self, request: Request<v1::UnpinRequest>) -> Result<Response<v1::UnpinReply>, Status> {
        self.order(Command::Unpin { digest: digest(request.into_inner().digest)? }).await
    }

    async fn list_pins(&self, _: Request<v1::ListPinsRequest>) -> Result<Response<v1::ListPinsReply>, Status> {
        let pins = self.shared.driver.try_inspect(Cluster::pins).await.map_err(apply_status)?;
        Ok(Response::new(v1::ListPinsReply { digests: pins.into_iter().map(Into::into).collect() }))
    }

    async fn collect_garbage(
        &self,
        request: Request<v1::CollectGarbageRequest>,
    ) -> Result<Response<v1::CollectGarbageReply>, Status> {
        let collected = self.shared.collector.collect(request.into_inner().dry_run).await.map_err(collect_status)?;
        Ok(Response::new(collected_reply(collected)))
    }

    type BackupStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn backup(&self, _: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let source = self.shared.backup.clone();
        let written = spawn_blocking(move || source.nameless()).await;
        let backup = written.map_err(|_| Status::internal("the backup's thread failed"))?.map_err(backup_status)?;
        let (chunks, stream) = mpsc::channel(CHUNKS_IN_FLIGHT);
        spawn_blocking(move || send_file(backup, &chunks));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Sends a file to its end, or the client's.
fn send_file(file: File, chunks: &mpsc::Sender<Result<v1::Chunk, Status>>) {
    loop {
        let mut data = Vec::with_capacity(CHUNK_BYTES_MAX);
        let chunk = match (&file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut data) {
            Ok(0) => return,
            Ok(_) => Ok(v1::Chunk { data: data.into() }),
            Err(error) => Err(Status::internal(format!("the backup cannot be read: {error}"))),
        };
        let failed = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

fn digest(text: String) -> Result<Digest, Status> {
    Digest::try_from(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn collected_reply(collected: Collected) -> v1::CollectGarbageReply {
    let removed = collected.removed.into_iter();
    let removed = removed.map(|artifact| v1::RemovedArtifact { digest: artifact.digest.into(), bytes: artifact.bytes });
    v1::CollectGarbageReply {
        removed: removed.collect(),
        kept_bytes: collected.kept_bytes,
        removed_bytes: collected.removed_bytes,
        reason: String::new(),
    }
}
