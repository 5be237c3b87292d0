//! A worker's heartbeats, each answered once the cluster has heard it.

use crate::Shared;
use crate::services::status::apply_status;
use ensemble::cluster::Command;
use ensemble::id::WorkerId;
use proto::v1::{Renewed, to_worker::Message};
use tokio::sync::mpsc;
use tonic::Status;

/// How many heartbeats may wait for an answer. While the journal is stalled there is none, and the worker fences itself
/// off long before there are so many.
pub(super) const BEATS_WAITING_MAX: usize = 64;

/// Answers heartbeats in order, until there are no more or one is refused: then the cluster has given the worker up, and
/// its session with it.
///
/// The worker's own fence stands on these answers, so that each must come from a cluster that would have renewed the
/// leases. A stalled one says nothing; predictions go on meanwhile.
pub(super) async fn answer(shared: &Shared, worker: &WorkerId, mut beats: mpsc::Receiver<()>) -> Result<(), Status> {
    while beats.recv().await.is_some() {
        let heartbeat = Command::Heartbeat { worker: worker.clone() };
        shared.driver.apply(heartbeat).await.map_err(apply_status)?;
        // A session that is going down needs none.
        let _ = shared.sessions.send(worker, Message::Renewed(Renewed {}));
    }
    Ok(())
}
