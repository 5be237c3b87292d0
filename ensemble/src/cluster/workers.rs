//! All workers, and what is counted of them.

use super::settings::{NAME_BYTES_MAX, SLOTS_MAX, WORKERS_MAX};
use super::worker::{Gone, SlotState, Slots, Standing, Worker, WorkerState};
use super::{Millis, Rejection, Slot};
use crate::id::WorkerId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All workers. Nothing looks through them: whatever a decision needs is indexed or counted as they change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Workers {
    workers: BTreeMap<WorkerId, Worker>,
    census: Census,
}

/// What is counted of workers, and kept by [`Workers::change`] and [`Workers::set_slot`] alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Census {
    /// Workers in session and unknown ones, by when they were last heard of.
    alive: BTreeSet<(Millis, WorkerId)>,
    /// By when they went.
    gone: BTreeSet<(Millis, WorkerId)>,
    /// Workers in session.
    connected: usize,
    /// Workers that tasks are granted to.
    taking: usize,
    /// Slots of those that will soon ask.
    slots_coming: usize,
}

impl Census {
    fn count_in(&mut self, id: &WorkerId, worker: &Worker) {
        match &worker.state {
            WorkerState::Connected(_) | WorkerState::Unknown(_) => self.alive.insert((worker.heard, id.clone())),
            WorkerState::Gone(gone) => self.gone.insert((gone.since, id.clone())),
        };
        self.connected += usize::from(worker.is_connected());
        self.taking += usize::from(worker.takes_tasks());
        self.slots_coming += worker.slots_coming();
    }

    fn count_out(&mut self, id: &WorkerId, worker: &Worker) {
        match &worker.state {
            WorkerState::Connected(_) | WorkerState::Unknown(_) => self.alive.remove(&(worker.heard, id.clone())),
            WorkerState::Gone(gone) => self.gone.remove(&(gone.since, id.clone())),
        };
        self.connected -= usize::from(worker.is_connected());
        self.taking -= usize::from(worker.takes_tasks());
        self.slots_coming -= worker.slots_coming();
    }
}

impl Workers {
    pub fn iter(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.workers.iter()
    }

    pub fn get(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    pub fn any_connected(&self) -> bool {
        self.census.connected > 0
    }

    /// Whether there is a worker that tasks are granted to.
    pub fn any_taking(&self) -> bool {
        self.census.taking > 0
    }

    /// How many slots will soon ask for a task, as far as anybody can tell.
    pub fn slots_coming(&self) -> usize {
        self.census.slots_coming
    }

    /// Workers in session or unknown that were last heard of at `until` or before, the longest silent first.
    pub fn silent_since(&self, until: Millis) -> impl Iterator<Item = &WorkerId> {
        self.census.alive.iter().take_while(move |(heard, _)| *heard <= until).map(|(_, id)| id)
    }

    /// When the worker that was silent for longest was heard of, of those that are not gone.
    pub fn longest_silent(&self) -> Option<Millis> {
        self.census.alive.first().map(|(heard, _)| *heard)
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
        if !known && self.workers.len() >= WORKERS_MAX && self.census.gone.is_empty() {
            return Err(Rejection::Full(format!("the cluster has its {WORKERS_MAX} workers")));
        }
        Ok(())
    }

    /// Opens a session with these slots. Of too many workers, the one gone longest is forgotten.
    pub fn join(&mut self, now: Millis, id: WorkerId, slots: Slots) {
        let known = self.forget(&id);
        if self.workers.len() >= WORKERS_MAX {
            let oldest = self.census.gone.first().map(|(_, id)| id.clone());
            oldest.iter().for_each(|id| drop(self.forget(id)));
        }
        let (standing, heard) = known.map_or((Standing::ACTIVE, now), |worker| (worker.standing, worker.heard));
        let worker = Worker { state: WorkerState::Connected(slots), standing, heard: heard.max(now) };
        self.census.count_in(&id, &worker);
        self.workers.insert(id, worker);
    }

    /// Ends a session; the worker keeps what it has.
    pub fn lose_sight(&mut self, id: &WorkerId) {
        self.change(id, |worker| {
            let slots = worker.slots_mut().map(std::mem::take).unwrap_or_default();
            worker.state = WorkerState::Unknown(slots);
        });
    }

    /// Notes that a worker is gone, whose leases were taken back.
    pub fn go(&mut self, now: Millis, id: &WorkerId) {
        self.change(id, |worker| worker.state = WorkerState::Gone(Gone { since: now }));
    }

    /// Notes that a worker is alive. Its clock never runs backwards.
    pub fn hear(&mut self, now: Millis, id: &WorkerId) {
        self.change(id, |worker| worker.heard = worker.heard.max(now));
    }

    pub fn set_standing(&mut self, id: &WorkerId, standing: Standing) {
        self.change(id, |worker| worker.standing = standing);
    }

    /// A worker in session.
    pub fn in_session(&self, id: &WorkerId) -> Result<&Worker, Rejection> {
        let unknown = || Rejection::UnknownWorker(id.clone());
        self.workers.get(id).filter(|worker| worker.is_connected()).ok_or_else(unknown)
    }

    /// The slots of a worker that is not gone, and what they do.
    pub fn slots(&self, id: &WorkerId) -> Vec<(u32, SlotState)> {
        let slots = self.workers.get(id).and_then(Worker::slots).into_iter().flatten();
        slots.map(|(&index, entry)| (index, entry.state)).collect()
    }

    pub fn slot(&self, id: &WorkerId, slot: u32) -> Option<SlotState> {
        self.workers.get(id)?.slots()?.get(&slot).map(|entry| entry.state)
    }

    /// Notes what a slot does, of a worker that is not gone.
    pub fn set_slot(&mut self, id: &WorkerId, slot: u32, state: SlotState) {
        let worker = self.workers.get_mut(id).expect("slots are those of known workers");
        self.census.slots_coming -= worker.slots_coming();
        let entry = worker.slots_mut().and_then(|slots| slots.get_mut(&slot));
        entry.expect("a slot does something only while its worker is not gone").state = state;
        self.census.slots_coming += worker.slots_coming();
    }

    fn change(&mut self, id: &WorkerId, change: impl FnOnce(&mut Worker)) {
        let worker = self.workers.get_mut(id).expect("only known workers change");
        self.census.count_out(id, worker);
        change(worker);
        self.census.count_in(id, worker);
    }

    fn forget(&mut self, id: &WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(id)?;
        self.census.count_out(id, &worker);
        Some(worker)
    }
}
