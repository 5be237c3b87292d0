//! Read models: what people and programs are shown of a cluster. Their JSON form is what `tutti get … --output json` prints.

use crate::id::{Digest, JobId, TaskId, WorkerId};
use crate::metrics::Scores;
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch.
type Millis = u64;

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its name and number.
    pub id: JobId,
    /// The name that the job file gives it.
    pub name: String,
    /// Whose job it is.
    #[serde(default)]
    pub namespace: String,
    /// How urgent it is.
    #[serde(default)]
    pub priority: u8,
    /// Where it stands.
    pub phase: Phase,
    /// Why it failed, what it does without, or what it waits for; empty when there is nothing to say.
    pub detail: String,
    /// The task whose failure ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_task: Option<TaskId>,
    /// Members whose predictions are scored.
    pub members_ready: u32,
    /// Members of the whole ensemble.
    pub members_total: u32,
    /// Members that it does without, because their tasks failed for good.
    #[serde(default)]
    pub members_lost: u32,
    /// When it was submitted.
    pub submitted_ms: Millis,
    /// When it ended; null while it goes on.
    pub ended_ms: Option<Millis>,
    /// Whether it is to be served once it is done.
    pub served: bool,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Tasks are waiting or at work, or the predictions are being combined.
    Running,
    /// There is a report.
    Done,
    /// It cannot succeed.
    Failed,
    /// Its user cancelled it.
    Cancelled,
}

/// A member of a job's ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its place in the ensemble.
    pub index: u32,
    /// What it is called.
    pub name: String,
    /// The seed of its run; null while it is not known which run wins the place.
    pub seed: Option<u64>,
    /// How far it is.
    pub state: MemberState,
    /// Why the ensemble must do without it, if it must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Its model's artifact, while it is there: from when it is made to when `keep` lets it go.
    pub digest: Option<Digest>,
    /// The artifact's size.
    pub bytes: Option<u64>,
    /// Its scores on the validation part.
    pub validation: Option<Scores>,
    /// Its scores on the test part.
    pub test: Option<Scores>,
}

/// How far a member or an average is.
///
/// ```text
///   Planned ──▶ Training ──▶ Trained ──▶ Evaluated
///      └────────────┴───────────┴──────▶ Lost
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Nobody is at it.
    Planned,
    /// Its run is trained; a soup is being averaged.
    Training,
    /// Its model is there.
    Trained,
    /// Its predictions are scored.
    Evaluated,
    /// What makes it failed for good.
    Lost,
}

/// An average of weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AverageView {
    /// Its place in the job file's list.
    pub index: u32,
    /// What it is called.
    pub name: String,
    /// How far it is.
    pub state: MemberState,
    /// Its model's artifact, calibrated where that is needed, once it is there.
    pub digest: Option<Digest>,
    /// The artifact's size.
    pub bytes: Option<u64>,
    /// Its scores on the validation part.
    pub validation: Option<Scores>,
    /// Its scores on the test part.
    pub test: Option<Scores>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// Its number within its job.
    pub index: u32,
    /// What it is called.
    pub run: String,
    /// The task that trains it.
    pub task: TaskId,
    /// How far it is.
    pub state: RunState,
    /// The worker that trains it now.
    pub worker: Option<WorkerId>,
    /// The newest grant of its task; 0 before the first.
    pub attempt: u32,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for a slot, for another run, or for its pause to end.
    Waiting,
    /// A worker is at it.
    Training,
    /// All its models are there.
    Done,
    /// The job ended without it.
    Failed,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its name.
    pub id: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// The worker and slot that are at it.
    pub at: Option<(WorkerId, u32)>,
    /// The newest grant; 0 before the first.
    pub attempt: u32,
    /// How often it failed.
    pub failures: u32,
    /// How often it lost its worker.
    pub losses: u32,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// What it starts from is not there yet.
    Blocked,
    /// It waits for a slot.
    Ready,
    /// It failed, and is tried again later.
    Paused,
    /// A slot is at it.
    Leased,
    /// It has succeeded.
    Done,
    /// It failed for good.
    Failed,
    /// Its job ended without it.
    Withdrawn,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub id: WorkerId,
    /// Whether it is in session.
    pub connected: bool,
    /// Whether it is in session, and if not, whether it may still be at its tasks.
    pub state: WorkerState,
    /// Whether it is given tasks.
    pub standing: Standing,
    /// Its slots; none when it is gone.
    pub slots: Vec<SlotView>,
    /// When it was last heard of.
    pub last_heartbeat_ms: Millis,
}

/// What is known of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It is in session.
    Connected,
    /// Its session broke, and its leases have not run out.
    Unknown,
    /// It left, or nothing was heard of it for a whole lease.
    Gone,
}

/// Whether a worker is given tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is.
    Active,
    /// An operator drains it, and it has tasks still.
    Draining,
    /// An operator drained it, and it has none any more.
    Drained,
    /// Its devices failed time and again.
    SetAside,
}

/// How much of the slots a namespace has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    /// Its name.
    pub namespace: String,
    /// How much it gets beside the others.
    pub weight: u32,
    /// How many slots are at its tasks.
    pub slots_busy: u32,
}

/// A slot of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    /// Its number on the worker.
    pub index: u32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The task it is at.
    pub task: Option<TaskId>,
}

/// Training state or a model that is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointView {
    /// The run, or the average that the coordinator made.
    pub run: String,
    /// What it is.
    pub kind: CheckpointKind,
    /// Finished steps; null for models.
    pub step: Option<u64>,
    /// The artifact.
    pub digest: Digest,
    /// The artifact's size.
    pub bytes: u64,
    /// When it was committed.
    pub committed_ms: Millis,
    /// Whether a newer one has taken its place, so that nothing will start from it any more.
    pub superseded: bool,
}

/// What a stored artifact of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// Resumable training state.
    Checkpoint,
    /// The weights at the end of a learning-rate cycle.
    Snapshot,
    /// The weights at the end of a run.
    Final,
    /// An average of weights.
    Average,
}
