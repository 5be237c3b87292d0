//! Reads a session until it ends, and sees to it that the cluster learns of the end.

use super::steps::{Goodbye, Steps};
use crate::Shared;
use crate::services::status::apply_status;
use crate::sessions::{Outbound, Place};
use ensemble::cluster::{Command, LeaveReason};
use ensemble::id::WorkerId;
use proto::v1::{FromWorker, Hosted, Predicted, Renewed, from_worker::Message, to_worker};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// How many of a worker's results may wait to take effect. When more come, the worker's stream is not read on.
const STEPS_WAITING_MAX: usize = 64;

/// Runs a session that has begun.
pub(super) async fn run(
    shared: Shared,
    worker: WorkerId,
    inbound: Streaming<FromWorker>,
    outbound: Outbound,
    place: Place,
) {
    let (steps, waiting) = mpsc::channel(STEPS_WAITING_MAX);
    let stepping = tokio::spawn(Steps::new(shared.clone(), worker.clone()).run(waiting));
    let reader = Reader { shared: &shared, worker: &worker, steps: steps.clone() };
    let end = tokio::select! {
        end = reader.read(inbound) => end,
        () = place.ended() => Err(Status::unavailable("the coordinator ended the session; join again")),
        // A step made no sense; its own error says which.
        () = steps.closed() => Ok(()),
    };
    // What the worker said before the end still counts: its steps finish first. They say how it left, if it said so.
    drop((reader, steps));
    let stepped = stepping.await.unwrap_or(Ok(Goodbye::Unsaid));
    let status = stepped.as_ref().err().cloned().or(end.err());
    leave(&shared, &worker, stepped.is_ok_and(|goodbye| goodbye == Goodbye::Said)).await;
    if let Some(status) = status {
        tracing::warn!(%worker, reason = status.message(), "session ended");
        // The worker may be gone; then nobody needs to know why.
        let _ = outbound.try_send(Err(status));
    }
    // Only now may another session take the name.
    drop(place);
}

async fn leave(shared: &Shared, worker: &WorkerId, drained: bool) {
    shared.gateway.left(worker.clone()).await;
    if !drained {
        let leave = Command::Leave { worker: worker.clone(), reason: LeaveReason::Disconnected };
        // Refused if the cluster has given the worker up already, or is ending itself.
        let _ = shared.driver.apply(leave).await;
    }
    tracing::info!(%worker, drained, "worker left");
}

struct Reader<'a> {
    shared: &'a Shared,
    worker: &'a WorkerId,
    steps: mpsc::Sender<Message>,
}

impl Reader<'_> {
    /// Reads until the stream ends or breaks. A silent worker is the cluster's to notice.
    async fn read(&self, mut inbound: Streaming<FromWorker>) -> Result<(), Status> {
        while let Some(FromWorker { message }) = inbound.message().await? {
            let message = message.ok_or_else(|| Status::invalid_argument("a message of the session is empty"))?;
            self.on(message).await?;
        }
        Ok(())
    }

    async fn on(&self, message: Message) -> Result<(), Status> {
        match message {
            Message::Heartbeat(_) => self.on_heartbeat().await,
            Message::Hosted(hosted) => self.on_hosted(hosted).await,
            Message::Predicted(predicted) => self.on_predicted(predicted).await,
            Message::Hello(_) => Err(Status::invalid_argument("`hello` comes once")),
            step => self.on_step(step).await,
        }
    }

    async fn on_heartbeat(&self) -> Result<(), Status> {
        let heartbeat = Command::Heartbeat { worker: self.worker.clone() };
        self.shared.driver.apply(heartbeat).await.map_err(apply_status)?;
        // The worker's own fence stands on this answer. A session that is going down needs none.
        let _ = self.shared.sessions.send(self.worker, to_worker::Message::Renewed(Renewed {}));
        Ok(())
    }

    async fn on_hosted(&self, hosted: Hosted) -> Result<(), Status> {
        self.shared.gateway.hosted(self.worker.clone(), hosted).await;
        Ok(())
    }

    async fn on_predicted(&self, predicted: Predicted) -> Result<(), Status> {
        self.shared.gateway.predicted(self.worker.clone(), predicted).await;
        Ok(())
    }

    /// Fails if the steps have ended, whose own error then says why.
    async fn on_step(&self, step: Message) -> Result<(), Status> {
        self.steps.send(step).await.map_err(|_| Status::aborted("the session's last message was refused"))
    }
}
