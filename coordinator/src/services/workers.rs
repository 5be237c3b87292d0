//! `Workers`: the long-lived session between a worker and the coordinator.
//!
//! ```text
//!  stream in ─▶ Reader ─── heartbeats, answers to predictions ───▶ driver, gateway
//!                  └─ everything else, in order ─▶ Steps ─▶ driver
//!  stream out ◀── Outbound (bounded) ◀── Sessions ◀── effects, gateway
//! ```
//! Two tasks, so that a heartbeat never waits for an evaluation to be scored, while a worker's results still take effect
//! in the order in which it sent them.

mod hello;
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
        let Greeting { worker, slots } = hello::receive(&mut inbound).await?;
        let (outbound, stream) = mpsc::channel(OUTBOUND_MAX);
        let place = self.shared.sessions.enter(worker.clone(), outbound.clone()).map_err(|taken| {
            Status::already_exists(format!("{taken}: `{worker}`; give this one another name (TUTTI_WORKER_NAME)"))
        })?;
        // A task of its own from here on: this one is dropped, wherever it is, when the connection breaks, and the
        // cluster must learn that who joined has left.
        tokio::spawn(Session { shared: self.shared.clone(), worker, outbound, place }.run(slots, inbound));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
