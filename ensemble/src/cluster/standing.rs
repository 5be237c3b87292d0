//! Workers that are given no tasks: because an operator drains them, or because their devices failed time and again.

use super::task::{Lease, TaskKey};
use super::worker::{Active, SlotState, Standing};
use super::{Cluster, Effect, Rejection};
use crate::id::WorkerId;
use std::collections::BTreeSet;

impl Cluster {
    /// Gives a worker no more tasks, and asks for those that it has.
    pub(super) fn handle_drain(&mut self, worker: &WorkerId) -> Result<Vec<Effect>, Rejection> {
        let standing = self.standing(worker)?;
        let mut effects = Vec::new();
        if standing != Standing::Draining {
            self.withhold(worker, Standing::Draining, &mut effects);
        }
        Ok(effects)
    }

    /// Gives a worker tasks again. What it was asked for comes back nevertheless.
    pub(super) fn handle_reinstate(&mut self, worker: &WorkerId) -> Result<Vec<Effect>, Rejection> {
        match self.standing(worker)? {
            Standing::Active(_) => self.workers.set_standing(worker, Standing::ACTIVE),
            Standing::Draining | Standing::SetAside => self.trust_again(worker),
        }
        Ok(Vec::new())
    }

    fn trust_again(&mut self, worker: &WorkerId) {
        self.workers.set_standing(worker, Standing::ACTIVE);
        self.enlist(worker);
    }

    /// Counts a device's failure. A worker whose devices fail one task after the other would go through all of them.
    pub(super) fn note_device_fault(&mut self, Lease { worker, slot, .. }: &Lease, effects: &mut Vec<Effect>) {
        let Ok(Standing::Active(Active { device_faults, .. })) = self.standing(worker) else { return };
        match device_faults + 1 {
            faults if faults >= self.settings.device_faults_max => self.withhold(worker, Standing::SetAside, effects),
            device_faults => {
                let active = Active { device_faults, slot: *slot };
                self.workers.set_standing(worker, Standing::Active(active));
            }
        }
    }

    /// Forgets a worker's device failures, because a task was finished where the last one was.
    pub(super) fn note_success(&mut self, Lease { worker, slot: done, .. }: &Lease) {
        match self.standing(worker) {
            Ok(Standing::Active(Active { device_faults: 1.., slot })) if slot == *done => {
                self.workers.set_standing(worker, Standing::ACTIVE);
            }
            _ => {}
        }
    }

    /// Trusts those workers again on which a job's tasks have failed: the fault was the job's.
    pub(super) fn clear_workers_of(&mut self, job: u32) {
        let tasks = self.jobs[job as usize].tasks.iter();
        let blamed: BTreeSet<_> = tasks.flat_map(|task| task.failed_on.iter().cloned()).collect();
        for worker in blamed {
            match self.standing(&worker) {
                Ok(Standing::Active(_)) => self.workers.set_standing(&worker, Standing::ACTIVE),
                Ok(Standing::SetAside) => self.trust_again(&worker),
                Ok(Standing::Draining) | Err(_) => {}
            }
        }
    }

    /// Whether a task can go to a worker on which it has not failed yet.
    pub(super) fn can_go_elsewhere(&self, key: TaskKey) -> bool {
        let failed_on = &self.task(key).failed_on;
        self.workers.iter().any(|(id, worker)| {
            worker.slots().is_some() && matches!(worker.standing, Standing::Active(_)) && !failed_on.contains(id)
        })
    }

    /// Takes a worker's slots out of everything that grants and preempts. Those that wait are in this state then.
    pub(super) fn dismiss(&mut self, worker: &WorkerId, waiting: SlotState) {
        for (slot, state) in self.workers.slots(worker) {
            match state {
                SlotState::Idle | SlotState::Yielding { .. } => {}
                SlotState::Busy { task } => self.set_preemptible(task, false),
                SlotState::Barred => self.workers.set_slot(worker, slot, waiting),
                SlotState::Waiting { ticket } => {
                    self.queue.stop_waiting(ticket);
                    self.workers.set_slot(worker, slot, waiting);
                }
            }
        }
    }

    /// Undoes [`Cluster::dismiss`], if the worker is given tasks.
    pub(super) fn enlist(&mut self, worker: &WorkerId) {
        if !self.workers.get(worker).is_some_and(|worker| worker.takes_tasks()) {
            return;
        }
        for (slot, state) in self.workers.slots(worker) {
            match state {
                SlotState::Barred => self.wait(worker, slot),
                SlotState::Busy { task } => self.set_preemptible(task, true),
                SlotState::Idle | SlotState::Waiting { .. } | SlotState::Yielding { .. } => {}
            }
        }
    }

    fn withhold(&mut self, worker: &WorkerId, standing: Standing, effects: &mut Vec<Effect>) {
        self.dismiss(worker, SlotState::Barred);
        self.workers.set_standing(worker, standing);
        for (slot, state) in self.workers.slots(worker) {
            if let SlotState::Busy { task } = state {
                self.ask_back(worker, slot, task, effects);
            }
        }
    }

    fn standing(&self, worker: &WorkerId) -> Result<Standing, Rejection> {
        let unknown = || Rejection::NoSuchWorker(worker.clone());
        self.workers.get(worker).map(|worker| worker.standing).ok_or_else(unknown)
    }
}
