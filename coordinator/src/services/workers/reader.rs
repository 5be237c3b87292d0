//! What a worker says, sorted: at once what must not wait, in order what must not overtake.

use super::notes::Notes;
use proto::v1::{FromWorker, Hosted, Predicted, from_worker::Message};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Reads one session.
pub(super) struct Reader {
    pub notes: Notes,
    /// Where heartbeats go.
    pub beats: mpsc::Sender<()>,
    /// Where everything goes that has its order.
    pub steps: mpsc::Sender<FromWorker>,
}

impl Reader {
    /// Reads until the stream ends or breaks. A silent worker is the cluster's to notice.
    pub(super) async fn read(&self, mut inbound: Streaming<FromWorker>) -> Result<(), Status> {
        while let Some(FromWorker { report, message }) = inbound.message().await? {
            let message = message.ok_or_else(|| Status::invalid_argument("a message of the session is empty"))?;
            self.on(report, message).await?;
        }
        Ok(())
    }

    async fn on(&self, report: u64, message: Message) -> Result<(), Status> {
        match message {
            Message::Heartbeat(_) => self.on_heartbeat().await,
            Message::Progress(progress) => self.notes.on_progress(progress),
            Message::Log(log) => self.notes.on_log(log),
            Message::Hosted(hosted) => self.on_hosted(hosted).await,
            Message::Predicted(predicted) => self.on_predicted(predicted).await,
            Message::Hello(_) => Err(Status::invalid_argument("`hello` comes once")),
            step => self.on_step(FromWorker { report, message: Some(step) }).await,
        }
    }

    /// Fails if the pulse has ended, whose own error then says why.
    async fn on_heartbeat(&self) -> Result<(), Status> {
        self.beats.send(()).await.map_err(|_| Status::aborted("the session's last heartbeat was refused"))
    }

    async fn on_hosted(&self, hosted: Hosted) -> Result<(), Status> {
        let Notes { shared, worker } = &self.notes;
        shared.gateway.hosted(worker.clone(), hosted).await;
        Ok(())
    }

    async fn on_predicted(&self, predicted: Predicted) -> Result<(), Status> {
        let Notes { shared, worker } = &self.notes;
        shared.gateway.predicted(worker.clone(), predicted).await;
        Ok(())
    }

    /// Fails if the steps have ended, whose own error then says why.
    async fn on_step(&self, step: FromWorker) -> Result<(), Status> {
        self.steps.send(step).await.map_err(|_| Status::aborted("the session's last message was refused"))
    }
}
