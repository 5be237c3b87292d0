//! What a worker says, sorted: at once what must not wait, in order what must not overtake.

use crate::Shared;
use crate::services::status::apply_status;
use ensemble::cluster::Command;
use ensemble::id::WorkerId;
use proto::v1::{FromWorker, Hosted, Predicted, Renewed, from_worker::Message, to_worker};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Reads one session.
pub(super) struct Reader<'a> {
    pub shared: &'a Shared,
    pub worker: &'a WorkerId,
    /// Where everything goes that has its order.
    pub steps: mpsc::Sender<Message>,
}

impl Reader<'_> {
    /// Reads until the stream ends or breaks. A silent worker is the cluster's to notice.
    pub(super) async fn read(&self, mut inbound: Streaming<FromWorker>) -> Result<(), Status> {
        while let Some(FromWorker { message, .. }) = inbound.message().await? {
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
