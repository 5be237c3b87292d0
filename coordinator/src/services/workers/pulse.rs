//! A worker's heartbeats, each answered once the cluster has heard it.

use crate::Shared;
use crate::services::status::apply_status;
use ensemble::cluster::Command;
use ensemble::id::WorkerId;
use proto::v1::{Renewed, to_worker::Message};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;

/// How many heartbeats may wait for an answer. While the journal is stalled there is none, and the worker fences itself
/// off long before there are so many.
pub(super) const BEATS_WAITING_MAX: usize = 64;

/// How often a leader that is not sure looks whether it is again.
const GLANCE: Duration = Duration::from_millis(100);

/// Answers heartbeats in order, until there are no more or one is refused: then the cluster has given the worker up, and
/// its session with it.
///
/// The worker's own fence stands on these answers, so that each must come from a cluster that would have renewed the
/// leases. A stalled one says nothing, nor does one that may have been replaced; predictions go on meanwhile.
pub(super) async fn answer(shared: &Shared, worker: &WorkerId, mut beats: mpsc::Receiver<()>) -> Result<(), Status> {
    while beats.recv().await.is_some() {
        let heartbeat = Command::Heartbeat { worker: worker.clone() };
        shared.driver.apply(heartbeat).await.map_err(apply_status)?;
        while !shared.tenure.holds() {
            sleep(GLANCE).await;
        }
        // A session that is going down needs none.
        let _ = shared.sessions.send(worker, Message::Renewed(Renewed {}));
    }
    Ok(())
}
