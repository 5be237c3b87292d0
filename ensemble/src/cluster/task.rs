//! Tasks: what is granted.

use super::{LeaseKey, Millis};
use crate::id::{JobId, TaskId, WorkerId};
use crate::run::Artifact;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A task's place: the job, and its number within the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct TaskKey {
    pub job: u32,
    pub task: u32,
}

/// A unit of work, and how it stands with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub kind: TaskKind,
    pub state: TaskState,
    /// How often it was granted; the newest grant's attempt.
    pub attempts: u32,
    pub faults: Faults,
    /// Where it failed for a reason that may be the worker's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed_on: BTreeSet<WorkerId>,
}

/// What a task has met, by whose doing it was: see [`restart`](super::restart). Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    /// How often memory did not suffice.
    pub memory: u32,
    /// How often its engine ended without a word.
    pub engine: u32,
    /// How often it lost its worker, or a device, the network or a store failed.
    pub infrastructure: u32,
    /// How often its data could not be used.
    #[serde(default)]
    pub data: u32,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TaskKind {
    /// Trains a pack of runs, by index.
    Train { runs: Vec<u32> },
    /// Recomputes the batch-norm statistics of a model, by its place in the job's models.
    Calibrate { model: u32 },
    /// Predicts with a model.
    Evaluate { model: u32 },
}

/// How it stands with a task. A lease exists only inside `Leased`.
///
/// ```text
///             branch point         granted             finished
///   Blocked ──────────────▶ Ready ─────────▶ Leased ─────────────▶ Done
///                           ▲ ▲ ▲             │ │ │                 │
///                           │ │ └─ lost, ─────┘ │ └─▶ Failed        │
///                           │ │    handed back  │  for good         │
///                           │ └──── Paused ◀────┘ failed            │
///                           └───── what it made is damaged ─────────┘
///
///   Blocked, Ready, Paused, Leased ── the job ended ──▶ Withdrawn
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TaskState {
    /// What it starts from is not there yet.
    Blocked,
    /// It waits for a slot.
    Ready,
    /// It failed, and is tried again later.
    Paused(Pause),
    /// A slot is at it.
    Leased(Lease),
    /// It has succeeded.
    Done(Success),
    /// It failed for good. Its members are lost, and with too many of them the job.
    Failed,
    /// Its job ended without it.
    Withdrawn,
}

/// A pause after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pause {
    pub until: Millis,
}

/// The right of a slot to a task. It lasts for [`Settings::lease_ms`](super::Settings::lease_ms) after the worker was
/// last heard of, so one deadline a worker serves all of its leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub worker: WorkerId,
    pub slot: u32,
    pub attempt: u32,
    /// The grant's number among all grants of the cluster.
    pub grant: u64,
}

/// Which attempt has done a task, and what it brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Success {
    pub attempt: u32,
    /// The calibrated model or the predictions.
    pub artifact: Option<Artifact>,
}

/// What somebody who names a lease may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The lease is alive.
    Live,
    /// The task was done under this very lease: a message that came twice.
    Repeated(Success),
}

impl Task {
    pub fn new(kind: TaskKind, state: TaskState) -> Self {
        Self { kind, state, attempts: 0, faults: Faults::default(), failed_on: BTreeSet::new() }
    }

    /// Whether the attempt counts.
    pub fn claim(&self, attempt: u32) -> Option<Claim> {
        match &self.state {
            TaskState::Leased(lease) if lease.attempt == attempt => Some(Claim::Live),
            TaskState::Done(success) if success.attempt == attempt => Some(Claim::Repeated(success.clone())),
            _ => None,
        }
    }

    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            TaskState::Leased(lease) => Some(lease),
            _ => None,
        }
    }

    pub fn is_training(&self) -> bool {
        self.kind.is_train()
    }
}

impl TaskKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Train { .. } => "train",
            Self::Calibrate { .. } => "calibrate",
            Self::Evaluate { .. } => "evaluate",
        }
    }

    /// The task's name, such as `fashion-mnist-1/train/0`.
    pub fn id(&self, job: &JobId, task: u32) -> TaskId {
        TaskId::new(format!("{job}/{}/{task}", self.name()))
    }

    /// Where a name that [`TaskKind::id`] made points: the job's name, the kind, and the task's number.
    pub fn parse(id: &TaskId) -> Option<(JobId, &str, u32)> {
        let (rest, task) = id.as_str().rsplit_once('/')?;
        let (job, kind) = rest.rsplit_once('/')?;
        Some((JobId::new(job), kind, task.parse().ok()?))
    }

    /// The model that the task is about, by its place in the job's models.
    pub fn model(&self) -> Option<u32> {
        match self {
            Self::Train { .. } => None,
            Self::Calibrate { model } | Self::Evaluate { model } => Some(*model),
        }
    }

    pub fn is_train(&self) -> bool {
        matches!(self, Self::Train { .. })
    }

    pub fn is_calibrate(&self) -> bool {
        matches!(self, Self::Calibrate { .. })
    }

    pub fn is_evaluate(&self) -> bool {
        matches!(self, Self::Evaluate { .. })
    }

    pub fn is_called(&self, name: &str) -> bool {
        self.name() == name
    }
}

impl Lease {
    pub fn key(&self, task: TaskId) -> LeaseKey {
        LeaseKey { task, attempt: self.attempt }
    }
}
