//! The way of messages to the coordinator.

use proto::v1::FromWorker;
use proto::v1::from_worker::Message;
use tokio::sync::mpsc;

/// Messages that the network has not taken yet. They are small, but for predictions.
const MESSAGES_MAX: usize = 256;

/// Where a session's messages are put. One that nobody takes any more, because the session has ended, is dropped: the
/// coordinator learns from the end of the session all there is to know.
#[derive(Clone, Debug)]
pub struct Outbox(mpsc::Sender<FromWorker>);

impl Outbox {
    /// An outbox, and where its messages come out.
    pub fn new() -> (Self, mpsc::Receiver<FromWorker>) {
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        (Self(sender), receiver)
    }

    /// Puts a message in, and waits for room if it must.
    pub async fn send(&self, message: Message) {
        let _ = self.0.send(FromWorker { message: Some(message), report: 0 }).await;
    }

    /// Puts a message in if there is room, for what may be lost.
    pub fn offer(&self, message: Message) {
        let _ = self.0.try_send(FromWorker { message: Some(message), report: 0 });
    }
}
