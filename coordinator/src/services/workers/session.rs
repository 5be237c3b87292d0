//! A session from its beginning to its end, both of which the cluster and the gateway must learn of.

use super::notes::Notes;
use super::pulse::{self, BEATS_WAITING_MAX};
use super::reader::Reader;
use super::steps::{Goodbye, Steps};
use crate::Shared;
use crate::services::status::{apply_status, stopped_status};
use crate::sessions::{Outbound, Place};
use ensemble::cluster::{Command, LeaveReason, SLOTS_MAX, Slot};
use ensemble::id::WorkerId;
use proto::v1::{FromWorker, Welcome};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// How many of a worker's results and questions may wait to take effect. When more come, the worker's stream is not read
/// on, heartbeats included; a worker has at most 256 results under way, and a question for each of its slots.
const STEPS_WAITING_MAX: usize = 256 + SLOTS_MAX;

/// One session. Its place is given up last, so that no other of the same name begins before this one has ended.
pub(super) struct Session {
    pub shared: Shared,
    pub worker: WorkerId,
    pub outbound: Outbound,
    pub place: Place,
}

impl Session {
    pub(super) async fn run(self, slots: Vec<Slot>, inbound: Streaming<FromWorker>) {
        let end = match self.join(slots).await {
            Ok(()) => {
                let (goodbye, end) = self.keep(inbound).await;
                self.leave(goodbye).await;
                end
            }
            Err(refused) => Err(refused),
        };
        if let Err(status) = end {
            tracing::warn!(worker = %self.worker, reason = status.message(), "session ended");
            // The worker may be gone; then nobody needs to know why.
            let _ = self.outbound.try_send(Err(status));
        }
    }

    async fn join(&self, slots: Vec<Slot>) -> Result<(), Status> {
        let join = Command::Join { worker: self.worker.clone(), slots };
        self.shared.driver.apply(join).await.map_err(apply_status)?;
        // The driver acts on the effects of one round before it answers the next: once it answers this, all leases that
        // were kept are among the session's.
        self.shared.driver.inspect(|_| ()).await.map_err(stopped_status)?;
        let settings = &self.shared.settings;
        let (heartbeat_ms, lease_ms) = (settings.heartbeat_ms, settings.cluster.lease_ms);
        // A worker that is gone already is found out when it is read from.
        let _ = self.shared.sessions.welcome(&self.worker, Welcome { heartbeat_ms, lease_ms, ..Welcome::default() });
        self.shared.gateway.joined(self.worker.clone()).await;
        tracing::info!(worker = %self.worker, "worker joined");
        Ok(())
    }

    /// Until the worker ends the session, or it must be ended. How the worker took its leave, and why it had to.
    async fn keep(&self, inbound: Streaming<FromWorker>) -> (Goodbye, Result<(), Status>) {
        let (beats, pulse) = mpsc::channel(BEATS_WAITING_MAX);
        let (steps, waiting) = mpsc::channel(STEPS_WAITING_MAX);
        let notes = Notes { shared: self.shared.clone(), worker: self.worker.clone() };
        let mut stepping = tokio::spawn(Steps::new(notes.clone()).run(waiting));
        let reader = Reader { notes, beats, steps: steps.clone() };
        let read = tokio::select! {
            end = reader.read(inbound) => end,
            Err(refused) = pulse::answer(&self.shared, &self.worker, pulse) => Err(refused),
            () = self.place.ended() => Err(Status::unavailable("the coordinator ended the session; join again")),
            // A step made no sense; its own error says which.
            () = steps.closed() => Ok(()),
        };
        // What the worker said before the end still counts: its steps finish first. Unless somebody waits for the place,
        // or the coordinator stops: what has not been recorded the worker will say again.
        drop((reader, steps));
        let stepped = tokio::select! {
            biased;
            stepped = &mut stepping => stepped,
            () = self.place.ended() => {
                stepping.abort();
                stepping.await
            }
        };
        match stepped {
            Ok(Ok(goodbye)) => (goodbye, read),
            Ok(Err(senseless)) => (Goodbye::Unsaid, Err(senseless)),
            Err(cut) if cut.is_cancelled() => (Goodbye::Unsaid, read),
            Err(_) => (Goodbye::Unsaid, Err(Status::internal("the session's task failed"))),
        }
    }

    /// Lost contact is no end of the work: the cluster waits for the worker as long as its leases last. A coordinator that
    /// stops has lost nobody; its next start begins with all sessions over, and all workers heard of just now.
    async fn leave(&self, goodbye: Goodbye) {
        match goodbye {
            Goodbye::Said => self.shared.gateway.left(self.worker.clone()).await,
            Goodbye::Unsaid => {
                self.shared.gateway.lost(self.worker.clone()).await;
                if !self.shared.stopping.is_cancelled() {
                    let leave = Command::Leave { worker: self.worker.clone(), reason: LeaveReason::Disconnected };
                    // Refused if the cluster has given the worker up already, or is ending itself.
                    let _ = self.shared.driver.apply(leave).await;
                }
            }
        }
        tracing::info!(worker = %self.worker, ?goodbye, "session ended");
    }
}
