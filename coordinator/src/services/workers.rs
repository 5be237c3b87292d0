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
mod steps;

use crate::Shared;
use crate::sessions::OUTBOUND_MAX;
use ensemble::cluster::{Command, Slot};
use ensemble::id::WorkerId;
use hello::Greeting;
use proto::v1::{FromWorker, ToWorker, Welcome, to_worker::Message, workers_server};
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

    async fn join(&self, worker: &WorkerId, slots: Vec<Slot>) -> Result<(), Status> {
        let join = Command::Join { worker: worker.clone(), slots };
        self.shared.driver.apply(join).await.map_err(super::status::apply_status)?;
        self.shared.gateway.joined(worker.clone()).await;
        tracing::info!(%worker, "worker joined");
        Ok(())
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
        // First in the queue, before anything that joining leads to.
        let welcome = Message::Welcome(self.welcome());
        outbound
            .try_send(Ok(ToWorker { message: Some(welcome) }))
            .map_err(|error| Status::internal(error.to_string()))?;
        self.join(&worker, slots).await?;
        tokio::spawn(reader::run(self.shared.clone(), worker, inbound, outbound, place));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Workers {
    fn welcome(&self) -> Welcome {
        let settings = &self.shared.settings;
        Welcome { heartbeat_ms: settings.heartbeat_ms, lease_ms: settings.cluster.lease_ms }
    }
}
