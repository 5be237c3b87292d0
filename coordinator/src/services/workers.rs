//! `Workers`: the long-lived session between a worker and the coordinator.
//!
//! ```text
//!  stream in ─▶ Reader ─── answers to predictions ──────▶ gateway
//!                  ├─ lines and progress ───────▶ Notes
//!                  ├─ heartbeats, in order ─────▶ Pulse ─▶ driver
//!                  └─ everything else, in order ─▶ Steps ─▶ driver
//!  stream out ◀── Outbound (bounded) ◀── Sessions ◀── effects, gateway, Pulse, Steps
//! ```
//! Three ways, so that a heartbeat never waits for an evaluation to be scored, nor a prediction for a journal that is
//! stalled, while a worker's results still take effect in the order in which it sent them.
//!
//! # What survives a session
//! The worker and its tasks do: see [`Hello`](proto::v1::Hello). It numbers what must not be lost and sends it again in
//! each new session until it hears [`Recorded`](proto::v1::Recorded), which is said once the driver has answered: then it
//! is in the journal, or will never count. So every report may come twice, and the cluster lets the second have no effect.

mod hello;
mod notes;
mod pulse;
mod reader;
mod session;
mod steps;

use crate::Shared;
use crate::sessions::OUTBOUND_MAX;
use hello::Greeting;
use proto::v1::{FromWorker, ToWorker, workers_server};
use session::Session;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Clone, Debug)]
pub struct Workers {
    shared: Shared,
}

impl Workers {
    /// Serves workers.
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl workers_server::Workers for Workers {
    type SessionStream = ReceiverStream<Result<ToWorker, Status>>;

    async fn session(&self, request: Request<Streaming<FromWorker>>) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let Greeting { worker, process, slots } = hello::receive(&mut inbound).await?;
        let (outbound, stream) = mpsc::channel(OUTBOUND_MAX);
        let place = self.shared.sessions.enter(worker.clone(), process, outbound.clone()).await.map_err(|taken| {
            Status::already_exists(format!("{taken}: `{worker}`; give this one another name (TUTTI_WORKER_NAME)"))
        })?;
        // A task of its own from here on: this one is dropped, wherever it is, when the connection breaks, and the
        // cluster must learn that who joined has left.
        tokio::spawn(Session { shared: self.shared.clone(), worker, outbound, place }.run(slots, inbound));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
