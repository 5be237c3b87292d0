//! A worker's results, taking effect one after the other.

use super::notes::Notes;
use crate::Shared;
use crate::collection::Claim;
use crate::combining::{self, ScoreError};
use crate::driver::{ApplyError, Stopped};
use crate::patience::{Curable, Cure, Patience};
use crate::services::status::{apply_status, stopped_status, store_status};
use crate::sessions::TaskKind;
use artifacts::StoreError;
use ensemble::cluster::{Command, Failure, FailureClass, LeaseKey, LeaveReason, Rejection};
use ensemble::id::{Digest, WorkerId};
use ensemble::run::Artifact;
use proto::convert::required;
use proto::v1::{self, FromWorker, from_worker::Message, to_worker::Message as Order};
use std::future::Future;
use tokio::sync::mpsc;
use tonic::Status;

/// Whether a worker said that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    Said,
    Unsaid,
}

/// An artifact that a worker names. Nobody collects it for as long as this lives.
struct Named {
    artifact: Artifact,
    stored: bool,
    _claim: Claim,
}

/// What is named and not there makes the attempt a failed one.
fn not_stored(lease: &LeaseKey, artifact: &Artifact) -> Command {
    let message = format!("artifact {} was named before it was uploaded", artifact.digest);
    Command::Fail { lease: lease.clone(), failure: Failure { class: FailureClass::Infrastructure, message } }
}

/// One worker's results.
pub(super) struct Steps {
    shared: Shared,
    worker: WorkerId,
    notes: Notes,
    /// The newest report of this session that is done with.
    recorded: u64,
}

impl Steps {
    pub(super) fn new(notes: Notes) -> Self {
        let Notes { shared, worker } = notes.clone();
        Self { shared, worker, notes, recorded: 0 }
    }

    /// Until the reader has no more, or one of them makes no sense.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<FromWorker>) -> Result<Goodbye, Status> {
        let mut goodbye = Goodbye::Unsaid;
        while let Some(FromWorker { report, message }) = waiting.recv().await {
            self.check_order(report)?;
            match message {
                Some(Message::Drained(_)) => goodbye = self.on_drained().await?,
                Some(message) => self.on(message).await?,
                None => {}
            }
            self.say_recorded(report);
        }
        Ok(goodbye)
    }

    async fn on(&self, message: Message) -> Result<(), Status> {
        match message {
            Message::Ready(ready) => self.on_ready(ready).await,
            Message::Checkpoint(checkpoint) => self.on_checkpoint(checkpoint).await,
            Message::Model(model) => self.on_model(model).await,
            Message::Finished(finished) => self.on_finished(finished).await,
            Message::Failed(failed) => self.on_failed(failed).await,
            Message::Yielded(yielded) => self.on_yielded(yielded).await,
            Message::Damaged(damaged) => self.on_damaged(damaged).await,
            // The reader sorts these out.
            Message::Hello(_) | Message::Heartbeat(_) | Message::Progress(_) | Message::Log(_) => Ok(()),
            Message::Hosted(_) | Message::Predicted(_) | Message::Drained(_) => Ok(()),
        }
    }

    /// Recording is said of all reports up to one, so that one which came late would be lost.
    fn check_order(&self, report: u64) -> Result<(), Status> {
        if report == 0 || report > self.recorded {
            return Ok(());
        }
        let problem = format!("report {report} came after report {}; they come in their order", self.recorded);
        Err(Status::invalid_argument(problem))
    }

    /// A report whose step went well is in the journal, or was refused for good.
    fn say_recorded(&mut self, report: u64) {
        if report > 0 {
            self.recorded = report;
            // Unless it is heard, the worker sends the report again in its next session.
            let _ = self.shared.sessions.send(&self.worker, Order::Recorded(v1::Recorded { report }));
        }
    }

    async fn on_ready(&self, ready: v1::Ready) -> Result<(), Status> {
        let ready = Command::Ready { worker: self.worker.clone(), slot: ready.slot };
        self.shared.driver.apply(ready).await.map_err(apply_status)
    }

    async fn on_checkpoint(&self, wire: v1::CheckpointStored) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        let v1::CheckpointStored { run, step, branch, .. } = wire;
        let Named { artifact, stored, _claim } = self.named(&lease, wire.artifact).await?;
        if !stored {
            // Said for the second time, of one that a newer checkpoint has made garbage. Were it needed, the task would
            // not count as complete without it.
            tracing::warn!(worker = %self.worker, task = %lease.task, digest = %artifact.digest, "no such checkpoint");
            return Ok(());
        }
        self.settle(lease.clone(), Command::CommitCheckpoint { lease, run, step, artifact, branch }).await
    }

    async fn on_model(&self, wire: v1::ModelStored) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        let v1::ModelStored { run, batch_norm, .. } = wire;
        let kind = required("kind", wire.kind)?;
        let Named { artifact, stored, _claim } = self.named(&lease, wire.artifact).await?;
        let command = match stored {
            true => Command::CommitModel { lease: lease.clone(), run, kind, artifact, batch_norm },
            false => not_stored(&lease, &artifact),
        };
        self.settle(lease, command).await
    }

    /// What finishing means depends on what the lease was for.
    async fn on_finished(&self, wire: v1::TaskFinished) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        match self.shared.sessions.granted(&self.worker, &lease) {
            None => self.disown(lease, "the lease is not the session's"),
            Some(TaskKind::Train) => self.settle(lease.clone(), Command::FinishTraining { lease }).await,
            Some(kind) => self.on_result(lease, kind, wire.artifact).await,
        }
    }

    /// The one artifact that a task was for.
    async fn on_result(&self, lease: LeaseKey, kind: TaskKind, wire: Option<v1::Artifact>) -> Result<(), Status> {
        let Named { artifact, stored, _claim } = self.named(&lease, wire).await?;
        let command = match kind {
            _ if !stored => not_stored(&lease, &artifact),
            TaskKind::Evaluate => self.score(lease.clone(), artifact).await?,
            _ => Command::FinishCalibration { lease: lease.clone(), artifact },
        };
        self.settle(lease, command).await
    }

    /// Scores predictions, off the threads that answer heartbeats.
    async fn score(&self, lease: LeaseKey, predictions: Artifact) -> Result<Command, Status> {
        let attempt = || async {
            let (store, digest) = (self.shared.store.clone(), predictions.digest.clone());
            let scored = self.shared.compute.run(move || combining::score_stored(&store, &digest)).await;
            scored.map_err(|_| ScoreError::Store(StoreError::GivenUp))?
        };
        match self.waiting_out(&lease, attempt).await? {
            Ok(scores) => Ok(Command::FinishEvaluation { lease, predictions, scores }),
            Err(error) => Ok(Command::Fail { lease, failure: error.into() }),
        }
    }

    async fn on_failed(&self, wire: v1::TaskFailed) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key.clone())?;
        let failure = Failure::try_from(wire)?;
        let (worker, task, attempt) = (&self.worker, &lease.task, lease.attempt);
        let Failure { class, message } = &failure;
        tracing::warn!(%worker, %task, attempt, ?class, message, "task failed");
        self.notes.append(&lease, format!("attempt {attempt} failed: {message}"));
        self.settle(lease.clone(), Command::Fail { lease, failure }).await
    }

    async fn on_drained(&self) -> Result<Goodbye, Status> {
        let leave = Command::Leave { worker: self.worker.clone(), reason: LeaveReason::Drained };
        self.shared.driver.apply(leave).await.map_err(apply_status)?;
        Ok(Goodbye::Said)
    }

    async fn on_yielded(&self, wire: v1::Yielded) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        self.notes.append(&lease, format!("attempt {} was handed back", lease.attempt));
        self.settle(lease.clone(), Command::Yield { lease }).await
    }

    /// Only who is at the task may say so: the cluster forgets what is damaged. It is looked at first, because a worker may
    /// read badly what is sound.
    async fn on_damaged(&self, wire: v1::Damaged) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        let digest = Digest::try_from(wire.digest).map_err(|error| Status::invalid_argument(error.to_string()))?;
        if self.notes.job_at_work(&lease).is_none() {
            return self.disown(lease, "the lease is not the session's");
        }
        match self.waiting_out(&lease, || self.shared.store.check(&digest)).await? {
            Ok(()) => {
                tracing::warn!(worker = %self.worker, task = %lease.task, %digest, "a worker reads badly");
                let message =
                    format!("artifact {digest} is sound in the store, and was not when it reached the worker");
                let failure = Failure { class: FailureClass::Device, message };
                self.settle(lease.clone(), Command::Fail { lease, failure }).await
            }
            Err(error) if error.lost().is_some() => {
                tracing::error!(worker = %self.worker, task = %lease.task, %digest, "an artifact is damaged");
                self.notes.append(&lease, format!("{error}; the task goes on from what came before it"));
                self.settle(lease, Command::ReportDamaged { digest }).await
            }
            Err(error) => Err(store_status(error)),
        }
    }

    /// An artifact that a worker names must be in the store before it is committed, and stay there until it is.
    async fn named(&self, lease: &LeaseKey, wire: Option<v1::Artifact>) -> Result<Named, Status> {
        let artifact: Artifact = required("artifact", wire)?;
        let claim = self.shared.claims.claim(&artifact.digest).await;
        let stored = self.waiting_out(lease, || self.shared.store.holds(&artifact)).await?.map_err(store_status)?;
        Ok(Named { artifact, stored, _claim: claim })
    }

    /// Waits while the store cannot be used. The worker goes on meanwhile; what it says waits as well.
    async fn waiting_out<T, E: Curable, F: Future<Output = Result<T, E>>>(
        &self,
        lease: &LeaseKey,
        mut attempt: impl FnMut() -> F,
    ) -> Result<Result<T, E>, Status> {
        let (mut patience, mut told) = (Patience::default(), false);
        loop {
            match attempt().await {
                Err(error) if error.cure() == Cure::Waiting => {
                    tracing::warn!(worker = %self.worker, %error, "a result waits");
                    if !told {
                        self.notes.append(lease, format!("waiting: {error}"));
                        told = true;
                    }
                }
                outcome => return Ok(outcome),
            }
            tokio::select! {
                () = patience.pause() => (),
                () = self.shared.stopping.cancelled() => return Err(stopped_status(Stopped)),
            }
        }
    }

    /// Applies what a worker did under a lease. If the lease no longer counts, the worker is told to stop; if what it did
    /// makes no sense, its attempt has failed.
    async fn settle(&self, lease: LeaseKey, command: Command) -> Result<(), Status> {
        if self.shared.sessions.granted(&self.worker, &lease).is_none() {
            return self.disown(lease, "the lease is not the session's");
        }
        match self.shared.driver.apply(command).await {
            Ok(()) => Ok(()),
            Err(ApplyError::Rejected(Rejection::Unexpected(message))) => {
                let failure = Failure { class: FailureClass::EngineLost, message: message.clone() };
                let fail = Command::Fail { lease: lease.clone(), failure };
                // Refused if the lease does not count either.
                let _ = self.shared.driver.apply(fail).await;
                self.disown(lease, &message)
            }
            Err(ApplyError::Rejected(rejection)) => self.disown(lease, &rejection.to_string()),
            Err(error) => Err(apply_status(error)),
        }
    }

    /// Tells the worker to stop what no longer counts. That is no fault of the session.
    fn disown(&self, lease: LeaseKey, reason: &str) -> Result<(), Status> {
        let (worker, task, attempt) = (&self.worker, &lease.task, lease.attempt);
        tracing::info!(%worker, %task, attempt, reason, "a result does not count");
        // A worker that is gone has stopped anyway.
        let _ = self.shared.sessions.revoke(&self.worker, lease);
        Ok(())
    }
}
