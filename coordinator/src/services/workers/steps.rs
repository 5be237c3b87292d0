//! A worker's results, taking effect one after the other.

use crate::Shared;
use crate::clock::wall_time;
use crate::combining;
use crate::driver::ApplyError;
use crate::logs::Line;
use crate::services::status::apply_status;
use crate::sessions::TaskKind;
use ensemble::cluster::{Command, Failure, LeaseKey, LeaveReason};
use ensemble::id::{JobId, WorkerId};
use ensemble::run::Artifact;
use proto::convert::required;
use proto::v1::{self, from_worker::Message};
use tokio::sync::mpsc;
use tonic::Status;

/// Whether a worker said that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    Said,
    Unsaid,
}

/// One worker's results.
pub(super) struct Steps {
    shared: Shared,
    worker: WorkerId,
}

impl Steps {
    pub(super) fn new(shared: Shared, worker: WorkerId) -> Self {
        Self { shared, worker }
    }

    /// Until the reader has no more, or one of them makes no sense.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Message>) -> Result<Goodbye, Status> {
        let mut goodbye = Goodbye::Unsaid;
        while let Some(message) = waiting.recv().await {
            match message {
                Message::Ready(ready) => self.on_ready(ready).await?,
                Message::Progress(progress) => self.on_progress(progress)?,
                Message::Log(log) => self.on_log(log)?,
                Message::Checkpoint(checkpoint) => self.on_checkpoint(checkpoint).await?,
                Message::Model(model) => self.on_model(model).await?,
                Message::Finished(finished) => self.on_finished(finished).await?,
                Message::Failed(failed) => self.on_failed(failed).await?,
                Message::Drained(_) => goodbye = self.on_drained().await?,
                Message::Yielded(_) | Message::Damaged(_) => {}
                Message::Hello(_) | Message::Heartbeat(_) | Message::Hosted(_) | Message::Predicted(_) => {}
            }
        }
        Ok(goodbye)
    }

    async fn on_ready(&self, ready: v1::Ready) -> Result<(), Status> {
        let ready = Command::Ready { worker: self.worker.clone(), slot: ready.slot };
        self.shared.driver.apply(ready).await.map_err(apply_status)
    }

    fn on_progress(&self, wire: v1::TaskProgress) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        if let (Some(job), Some(progress)) = (self.job_at_work(&lease), wire.progress) {
            self.shared.progress.note(job, wire.run, progress);
        }
        Ok(())
    }

    fn on_log(&self, wire: v1::TaskLog) -> Result<(), Status> {
        self.note(&required("key", wire.key)?, wire.text);
        Ok(())
    }

    /// Appends to the log of the lease's job.
    fn note(&self, lease: &LeaseKey, text: String) {
        if let Some(job) = self.job_at_work(lease) {
            let (task, worker) = (lease.task.to_string(), self.worker.to_string());
            self.shared.logs.append(job, Line { time_ms: wall_time(), task, worker, text });
        }
    }

    /// The job of a lease that counts. What a worker says of any other is not worth a word.
    fn job_at_work(&self, lease: &LeaseKey) -> Option<JobId> {
        self.shared.sessions.granted(&self.worker, lease)?;
        lease.task.job()
    }

    async fn on_checkpoint(&self, wire: v1::CheckpointStored) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        let v1::CheckpointStored { run, step, branch, .. } = wire;
        let artifact = self.stored(wire.artifact)?;
        self.settle(lease.clone(), Command::CommitCheckpoint { lease, run, step, artifact, branch }).await
    }

    async fn on_model(&self, wire: v1::ModelStored) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        let (kind, artifact) = (required("kind", wire.kind)?, self.stored(wire.artifact)?);
        let command =
            Command::CommitModel { lease: lease.clone(), run: wire.run, kind, artifact, batch_norm: wire.batch_norm };
        self.settle(lease, command).await
    }

    /// What finishing means depends on what the lease was for.
    async fn on_finished(&self, wire: v1::TaskFinished) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        let command = match self.shared.sessions.granted(&self.worker, &lease) {
            None => return self.disown(lease, "the lease is not the session's"),
            Some(TaskKind::Train) => Command::FinishTraining { lease: lease.clone() },
            Some(TaskKind::Calibrate) => {
                Command::FinishCalibration { lease: lease.clone(), artifact: self.stored(wire.artifact)? }
            }
            Some(TaskKind::Evaluate) => self.score(lease.clone(), self.stored(wire.artifact)?).await?,
        };
        self.settle(lease, command).await
    }

    /// Scores predictions, off the threads that answer heartbeats.
    async fn score(&self, lease: LeaseKey, predictions: Artifact) -> Result<Command, Status> {
        let (store, digest) = (self.shared.store.clone(), predictions.digest.clone());
        let scored = self.shared.compute.run(move || combining::score_stored(&store, &digest)).await;
        match scored.map_err(|cut_short| Status::unavailable(cut_short.to_string()))? {
            Ok(scores) => Ok(Command::FinishEvaluation { lease, predictions, scores }),
            Err(failure) => Ok(Command::Fail { lease, failure }),
        }
    }

    async fn on_failed(&self, wire: v1::TaskFailed) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key.clone())?;
        let failure = Failure::try_from(wire)?;
        let (worker, task, attempt) = (&self.worker, &lease.task, lease.attempt);
        let Failure { class, message } = &failure;
        tracing::warn!(%worker, %task, attempt, ?class, message, "task failed");
        self.note(&lease, format!("attempt {attempt} failed: {message}"));
        self.settle(lease.clone(), Command::Fail { lease, failure }).await
    }

    async fn on_drained(&self) -> Result<Goodbye, Status> {
        let leave = Command::Leave { worker: self.worker.clone(), reason: LeaveReason::Drained };
        self.shared.driver.apply(leave).await.map_err(apply_status)?;
        Ok(Goodbye::Said)
    }

    /// An artifact that a worker names must be in the store before it is committed.
    fn stored(&self, wire: Option<v1::Artifact>) -> Result<Artifact, Status> {
        let artifact: Artifact = required("artifact", wire)?;
        if self.shared.store.holds(&artifact) {
            return Ok(artifact);
        }
        Err(Status::failed_precondition(format!("artifact {} was named before it was uploaded", artifact.digest)))
    }

    /// Applies what a worker did under a lease. If the lease no longer counts, the worker is told to stop.
    async fn settle(&self, lease: LeaseKey, command: Command) -> Result<(), Status> {
        match self.shared.driver.apply(command).await {
            Ok(()) => Ok(()),
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
