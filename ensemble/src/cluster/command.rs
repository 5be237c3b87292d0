//! What can happen to a cluster, and what follows from it.

use crate::id::{Digest, JobId, TaskId, WorkerId};
use crate::job::{Combination, Job};
use crate::metrics::Scores;
use crate::report::Report;
use crate::run::{Artifact, ModelKind, Run};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment: milliseconds since the Unix epoch, as the coordinator's clock has it.
pub type Millis = u64;

/// Something that happens to a cluster. Commands are all there is to know: replaying them rebuilds the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields' types say what they are")]
pub enum Command {
    /// A user submits a job. The same key again means the same job.
    Submit { key: String, job: Box<Job> },
    /// A user cancels a job.
    Cancel { job: JobId },
    /// A worker opens a session, and says which leases it still holds. One that it still had has ended with this.
    Join { worker: WorkerId, slots: Vec<Slot> },
    /// A worker's session ended. Whoever drives the cluster sees to it that the end of a session is not said after the
    /// next one has begun.
    Leave { worker: WorkerId, reason: LeaveReason },
    /// The coordinator was away and heard nobody, so no worker can be blamed for its silence: all count as heard of now.
    /// Where it was a stop, their sessions are over as well.
    Resume { sessions_ended: bool },
    /// A worker is alive.
    Heartbeat { worker: WorkerId },
    /// A worker's slot asks for a task. If it was granted one meanwhile, that is the answer.
    Ready { worker: WorkerId, slot: u32 },
    /// A run's resumable state has reached the store.
    /// Where it stands exactly at one of the run's branch points, `branch` is that point's place in
    /// [`Run::branch_points`], and what branches off there may start.
    CommitCheckpoint {
        lease: LeaseKey,
        run: u32,
        step: u64,
        artifact: Artifact,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<u32>,
    },
    /// A run's model has reached the store.
    CommitModel { lease: LeaseKey, run: u32, kind: ModelKind, artifact: Artifact, batch_norm: bool },
    /// A `train` task has done all its runs.
    FinishTraining { lease: LeaseKey },
    /// A `calibrate` task has recomputed the batch-norm statistics: here is the model it made.
    FinishCalibration { lease: LeaseKey, artifact: Artifact },
    /// An `evaluate` task's predictions have reached the store and were scored.
    FinishEvaluation { lease: LeaseKey, predictions: Artifact, scores: EvaluationScores },
    /// A worker hands a task back that it was asked for, with all that it has learned committed.
    Yield { lease: LeaseKey },
    /// A task failed.
    Fail { lease: LeaseKey, failure: Failure },
    /// The pause after an attempt's failure is over. Time alone brings it about: see [`Cluster::due`](super::Cluster::due).
    Retry { failed: LeaseKey },
    /// The coordinator has averaged stored models.
    FinishAverage { job: JobId, average: u32, outcome: AverageOutcome },
    /// The coordinator has combined the members' predictions.
    FinishReport { job: JobId, outcome: ReportOutcome },
    /// An operator wants a worker to get no more tasks, and those that it has to be handed back.
    Drain { worker: WorkerId },
    /// An operator wants a worker to get tasks again, though it was drained or set aside.
    Reinstate { worker: WorkerId },
    /// An operator says how much of the slots a namespace gets beside the others, from 1 to
    /// [`WEIGHT_MAX`](super::WEIGHT_MAX).
    SetShare { namespace: String, weight: u32 },
    /// Somebody wants an artifact to be kept, whatever becomes of the jobs that refer to it.
    Pin { digest: Digest },
    /// Nobody wants that any more.
    Unpin { digest: Digest },
    /// A stored artifact is not what its name says, or is gone: what made it is done again.
    ReportDamaged { digest: Digest },
}

/// Names one grant of a task: the attempt is its fencing token, and only the newest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseKey {
    /// The task.
    pub task: TaskId,
    /// Which grant of it, from 1.
    pub attempt: u32,
}

/// Capacity for one task at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The slot's number on its worker.
    pub index: u32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The lease that the worker still works under there, or whose last word it has not seen recorded yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<LeaseKey>,
}

/// Why a worker left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// Its session broke. It may be at its tasks still, so it keeps them until its leases run out.
    Disconnected,
    /// It stops, and works on nothing any more.
    Drained,
    /// Nothing was heard of it for as long as a lease lasts. See [`Cluster::due`](super::Cluster::due).
    Silent,
}

/// How a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of thing went wrong, which decides whether it is tried again.
    pub class: FailureClass,
    /// What went wrong, in words.
    pub message: String,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The job asks for something that cannot work; trying again would fail again.
    User,
    /// The data is missing, damaged or not what the job says.
    Data,
    /// The device's or the host's memory did not suffice.
    OutOfMemory,
    /// The device failed.
    Device,
    /// The engine ended without a word.
    EngineLost,
    /// The network, a disk or the store failed.
    Infrastructure,
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Data => "data",
            Self::OutOfMemory => "out of memory",
            Self::Device => "device",
            Self::EngineLost => "engine lost",
            Self::Infrastructure => "infrastructure",
        })
    }
}

/// What an evaluation found, per part of the data that the job has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationScores {
    /// On the validation part.
    pub validation: Option<Scores>,
    /// On the test part.
    pub test: Option<Scores>,
    /// On the fold that the run did not see.
    pub held_out: Option<Scores>,
}

/// How averaging stored models ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields' types say what they are")]
pub enum AverageOutcome {
    /// The average is in the store.
    Averaged { artifact: Artifact, batch_norm: bool },
    /// The models do not fit together.
    Refused { message: String },
}

/// How combining predictions ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields' types say what they are")]
pub enum ReportOutcome {
    /// The job's report.
    Done { report: Box<Report> },
    /// The predictions do not fit together.
    Refused { message: String },
}

/// What the driver must do once a command is journalled. Effects carry all they need: nothing is looked up later.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields' types say what they are")]
pub enum Effect {
    /// Answer the user whose [`Command::Submit`] it was: the job, whether it is new or the key was known.
    Accepted { job: JobId },
    /// Send a lease to a worker.
    Grant { worker: WorkerId, slot: u32, lease: LeaseKey, work: Work },
    /// Tell a worker that has come back that a lease it holds still counts: it goes on.
    Kept { worker: WorkerId, slot: u32, lease: LeaseKey },
    /// Tell a worker to stop a task whose lease no longer counts.
    Revoke { worker: WorkerId, lease: LeaseKey },
    /// Ask a worker to commit a checkpoint and hand a task back, with [`Command::Yield`].
    Yield { worker: WorkerId, lease: LeaseKey },
    /// Average stored models, then apply [`Command::FinishAverage`].
    Average { job: JobId, average: u32, models: Vec<Artifact> },
    /// Combine the members' predictions, then apply [`Command::FinishReport`].
    Combine { job: JobId, combination: Combination, members: Vec<Evaluated>, averages: Vec<Evaluated> },
    /// A worker fell silent and its leases are given to others: end its session.
    Lost { worker: WorkerId },
    /// A task that failed may be granted again: say so in the job's log.
    Retried { task: TaskId },
    /// A job has reached its end.
    JobEnded { job: JobId },
}

/// What a task is about.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields' types say what they are")]
pub enum Work {
    /// Train a pack of runs.
    Train { job: Box<Job>, runs: Vec<TrainRun> },
    /// Recompute the batch-norm statistics of an average on the run's training samples.
    Calibrate { job: Box<Job>, run: Box<Run>, model: Artifact },
    /// Predict all parts of the data with a model.
    Evaluate { job: Box<Job>, run: Box<Run>, model: Artifact },
}

/// One run of a pack, and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainRun {
    /// The run.
    pub run: Run,
    /// The checkpoint it goes on from; none means from the start.
    pub resume: Option<Artifact>,
}

/// A model whose predictions are in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// What the report calls it.
    pub name: String,
    /// Its predictions on all parts of the data.
    pub predictions: Artifact,
    /// What they scored.
    pub scores: EvaluationScores,
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such job.
    #[error("there is no job `{0}`; `tutti get jobs` lists them")]
    UnknownJob(JobId),
    /// No such task.
    #[error("there is no task `{0}`")]
    UnknownTask(TaskId),
    /// No such worker, or its session ended.
    #[error("worker `{0}` has no session")]
    UnknownWorker(WorkerId),
    /// No worker was ever called so.
    #[error("there is no worker `{0}`; `tutti get workers` lists them")]
    NoSuchWorker(WorkerId),
    /// The lease was given to somebody else since, or has run out, or the task is done.
    #[error("attempt {} of `{}` no longer counts", .0.attempt, .0.task)]
    StaleLease(LeaseKey),
    /// What was said does not fit what was granted: a run or a model that is no part of the task, a slot that is no part
    /// of the worker, or an answer to nothing that was asked.
    #[error("{0}")]
    Unexpected(String),
    /// The job asks for what cannot be.
    #[error("{0}")]
    InvalidJob(String),
    /// The job has ended already.
    #[error("job `{0}` has ended")]
    JobEnded(JobId),
    /// The cluster holds as much as it can.
    #[error("{0}; try again later")]
    Full(String),
}
