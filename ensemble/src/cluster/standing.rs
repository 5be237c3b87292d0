//! Workers that are given no tasks: because an operator drains them, or because their devices failed time and again.

use super::worker::{Active, SlotState, Standing};
use super::{Cluster, Effect, Rejection};
use crate::id::WorkerId;

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
        let standing = self.standing(worker)?;
        self.workers.set_standing(worker, Standing::ACTIVE);
        if !matches!(standing, Standing::Active(_)) {
            self.enlist(worker);
        }
        Ok(Vec::new())
    }

    /// Counts a device's failure. A worker whose devices fail one task after the other would go through all of them.
    pub(super) fn note_device_fault(&mut self, worker: &WorkerId, effects: &mut Vec<Effect>) {
        let Ok(Standing::Active(Active { device_faults })) = self.standing(worker) else { return };
        match device_faults + 1 {
            faults if faults >= self.settings.device_faults_max => self.withhold(worker, Standing::SetAside, effects),
            device_faults => self.workers.set_standing(worker, Standing::Active(Active { device_faults })),
        }
    }

    /// Forgets a worker's device failures, because it has finished a task.
    pub(super) fn note_success(&mut self, worker: &WorkerId) {
        if matches!(self.standing(worker), Ok(Standing::Active(Active { device_faults: 1.. }))) {
            self.workers.set_standing(worker, Standing::ACTIVE);
        }
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
