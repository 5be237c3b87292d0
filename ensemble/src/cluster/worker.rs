//! Workers and their slots.

use super::settings::{NAME_BYTES_MAX, SLOTS_MAX, WORKERS_MAX};
use super::task::TaskKey;
use super::{Millis, Rejection, Slot};
use crate::id::WorkerId;
use std::collections::{BTreeMap, BTreeSet};

/// A worker that is, or was, in session.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub state: WorkerState,
    /// When it was last heard of.
    pub heard: Millis,
}

#[derive(Clone, Debug)]
pub(super) enum WorkerState {
    /// In session, with these slots.
    Connected(BTreeMap<u32, SlotEntry>),
    /// Without a session.
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct SlotEntry {
    pub device: String,
    pub state: SlotState,
}

/// What a slot does.
///
/// ```text
///   Idle ── asks ──▶ Waiting ── granted ──▶ Busy
///    ▲                                       │
///    └── finished, failed, revoked ──────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    /// It has not asked for a task.
    Idle,
    /// It waits for a task, with this ticket.
    Waiting { ticket: u64 },
    /// It is at a task, whose state holds the lease.
    Busy { task: TaskKey },
}

/// All workers, with an index by when they were last heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Workers {
    workers: BTreeMap<WorkerId, Worker>,
    connected: BTreeSet<(Millis, WorkerId)>,
    gone: BTreeSet<(Millis, WorkerId)>,
}

impl Workers {
    pub fn iter(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.workers.iter()
    }

    pub fn any_connected(&self) -> bool {
        !self.connected.is_empty()
    }

    pub fn is_connected(&self, id: &WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| matches!(worker.state, WorkerState::Connected(_)))
    }

    /// Whether a worker with these slots may join.
    pub fn check_join(&self, id: &WorkerId, slots: &[Slot]) -> Result<(), Rejection> {
        if id.as_str().is_empty() || id.as_str().len() > NAME_BYTES_MAX {
            return Err(Rejection::Unexpected(format!("a worker's name has 1 to {NAME_BYTES_MAX} bytes")));
        }
        if slots.is_empty() || slots.len() > SLOTS_MAX {
            let given = slots.len();
            return Err(Rejection::Unexpected(format!(
                "worker `{id}` has {given} slots; it must have 1 to {SLOTS_MAX}"
            )));
        }
        let numbers: BTreeSet<_> = slots.iter().map(|slot| slot.index).collect();
        if numbers.len() < slots.len() || slots.iter().any(|slot| slot.device.len() > NAME_BYTES_MAX) {
            let problem = format!("worker `{id}` names two slots alike, or a device in over {NAME_BYTES_MAX} bytes");
            return Err(Rejection::Unexpected(problem));
        }
        let known = self.workers.contains_key(id);
        if !known && self.workers.len() >= WORKERS_MAX && self.gone.is_empty() {
            return Err(Rejection::Full(format!("the cluster has its {WORKERS_MAX} workers")));
        }
        Ok(())
    }

    /// Opens the session of a worker that has none.
    pub fn join(&mut self, now: Millis, id: WorkerId, slots: Vec<Slot>) {
        self.forget(&id);
        if self.workers.len() >= WORKERS_MAX {
            let oldest = self.gone.first().map(|(_, id)| id.clone());
            oldest.iter().for_each(|id| self.forget(id));
        }
        let entry = |slot: Slot| (slot.index, SlotEntry { device: slot.device, state: SlotState::Idle });
        let state = WorkerState::Connected(slots.into_iter().map(entry).collect());
        self.connected.insert((now, id.clone()));
        self.workers.insert(id, Worker { state, heard: now });
    }

    /// Ends a session, and hands out what its slots were doing, in the order of the slots.
    pub fn leave(&mut self, id: &WorkerId) -> Result<Vec<(u32, SlotState)>, Rejection> {
        let slots = std::mem::take(self.slots_mut(id)?);
        let worker = self.workers.get_mut(id).expect("its slots were just found");
        worker.state = WorkerState::Gone;
        self.connected.remove(&(worker.heard, id.clone()));
        self.gone.insert((worker.heard, id.clone()));
        Ok(slots.into_iter().map(|(index, slot)| (index, slot.state)).collect())
    }

    /// Notes that a worker is alive. Its clock never runs backwards.
    pub fn hear(&mut self, now: Millis, id: &WorkerId) -> Result<(), Rejection> {
        self.slots_mut(id)?;
        let worker = self.workers.get_mut(id).expect("its slots were just found");
        self.connected.remove(&(worker.heard, id.clone()));
        worker.heard = worker.heard.max(now);
        self.connected.insert((worker.heard, id.clone()));
        Ok(())
    }

    pub fn slot_mut(&mut self, id: &WorkerId, slot: u32) -> Result<&mut SlotState, Rejection> {
        let unknown = || Rejection::Unexpected(format!("worker `{id}` has no slot {slot}"));
        let entry = self.slots_mut(id)?.get_mut(&slot).ok_or_else(unknown)?;
        Ok(&mut entry.state)
    }

    /// Frees the slot that a lease was held on.
    pub fn free(&mut self, id: &WorkerId, slot: u32) {
        let state = self.slot_mut(id, slot).expect("leases are taken back before their worker's session ends");
        *state = SlotState::Idle;
    }

    /// Workers in session that were last heard of at `until` or before, the longest silent first.
    pub fn silent_since(&self, until: Millis) -> impl Iterator<Item = &WorkerId> {
        self.connected.iter().take_while(move |(heard, _)| *heard <= until).map(|(_, id)| id)
    }

    /// When the worker in session that was silent for longest was heard of.
    pub fn longest_silent(&self) -> Option<Millis> {
        self.connected.first().map(|(heard, _)| *heard)
    }

    fn slots_mut(&mut self, id: &WorkerId) -> Result<&mut BTreeMap<u32, SlotEntry>, Rejection> {
        match self.workers.get_mut(id).map(|worker| &mut worker.state) {
            Some(WorkerState::Connected(slots)) => Ok(slots),
            _ => Err(Rejection::UnknownWorker(id.clone())),
        }
    }

    fn forget(&mut self, id: &WorkerId) {
        if let Some(worker) = self.workers.remove(id) {
            self.gone.remove(&(worker.heard, id.clone()));
            self.connected.remove(&(worker.heard, id.clone()));
        }
    }
}
