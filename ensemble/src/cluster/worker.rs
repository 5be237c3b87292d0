//! A worker: whether it is there, whether it is given tasks, and what its slots do.

use super::Millis;
use super::task::TaskKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A worker that the cluster has met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub state: WorkerState,
    /// Outlives sessions: what is wrong with a machine is not mended by its worker's new start.
    pub standing: Standing,
    /// When it was last heard of.
    pub heard: Millis,
}

/// Whether a worker is there. Lost contact is no loss: only time makes it one.
///
/// ```text
///          Join               session broke, coordinator was away
///   ·  ───────────▶ Connected ──────────────────────────────────▶ Unknown
///                   ▲  ▲   │                                       │   │
///              Join │  └───┼──────────────── Join ─────────────────┘   │
///                   │      │ drained, silent for a lease               │ silent for a lease
///                   └──── Gone ◀───────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum WorkerState {
    /// In session.
    Connected(Slots),
    /// Without a session, and with its leases: it may be at its tasks, and is given no others.
    Unknown(Slots),
    /// Without a session or leases.
    Gone(Gone),
}

/// The slots of a worker, by number.
pub(super) type Slots = BTreeMap<u32, SlotEntry>;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Gone {
    pub since: Millis,
}

/// Whether a worker is given tasks.
///
/// ```text
///             an operator drains it
///   Active ◀────────────────────────▶ Draining
///     ▲  └── its devices fail time and again ──▶ SetAside
///     └───────────── an operator reinstates it ────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// It is.
    Active(Active),
    /// It finishes.
    Draining,
    /// It is not trusted.
    SetAside,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Active {
    /// How often a device failed since a task was finished where the last one did.
    pub device_faults: u32,
    /// The slot at which the last one did. A host's other devices may be sound.
    #[serde(default)]
    pub slot: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SlotEntry {
    pub device: String,
    pub state: SlotState,
}

/// What a slot does.
///
/// ```text
///            asks            granted         asked to hand it back
///   Idle ───────────▶ Waiting ─────▶ Busy ────────────────────────▶ Yielding
///    ▲ │    reinstated ▲ │ drained,    │                                │
///    │ │               │ ▼ set aside   │                                │
///    │ └── asks ────▶ Barred           │                                │
///    └── finished, failed, handed back, revoked ────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SlotState {
    /// It has not asked for a task.
    Idle,
    /// It waits for a task, with this ticket.
    Waiting { ticket: u64 },
    /// It waits, and its worker is given none.
    Barred,
    /// It is at a task, whose state holds the lease.
    Busy { task: TaskKey },
    /// It is at a task, and was asked to commit a checkpoint and hand the task back.
    Yielding { task: TaskKey },
}

impl Worker {
    pub fn slots(&self) -> Option<&Slots> {
        match &self.state {
            WorkerState::Connected(slots) | WorkerState::Unknown(slots) => Some(slots),
            WorkerState::Gone(_) => None,
        }
    }

    pub fn slots_mut(&mut self) -> Option<&mut Slots> {
        match &mut self.state {
            WorkerState::Connected(slots) | WorkerState::Unknown(slots) => Some(slots),
            WorkerState::Gone(_) => None,
        }
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.state, WorkerState::Connected(_))
    }

    /// Whether tasks are granted to its slots.
    pub fn takes_tasks(&self) -> bool {
        self.is_connected() && matches!(self.standing, Standing::Active(_))
    }

    /// The slots that will soon ask for a task, as far as anybody can tell.
    pub fn slots_coming(&self) -> usize {
        let coming = |entry: &&SlotEntry| matches!(entry.state, SlotState::Idle | SlotState::Yielding { .. });
        match self.slots() {
            Some(slots) if self.takes_tasks() => slots.values().filter(coming).count(),
            _ => 0,
        }
    }
}

impl Standing {
    pub const ACTIVE: Self = Self::Active(Active { device_faults: 0, slot: 0 });
}

impl SlotState {
    /// The task that the slot is at.
    pub fn task(self) -> Option<TaskKey> {
        match self {
            Self::Idle | Self::Waiting { .. } | Self::Barred => None,
            Self::Busy { task } | Self::Yielding { task } => Some(task),
        }
    }
}
