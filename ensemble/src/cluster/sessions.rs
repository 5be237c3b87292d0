//! Workers come, go, show that they are alive, and ask for tasks.

use super::queue::SlotKey;
use super::worker::SlotState;
use super::{Cluster, Effect, LeaveReason, Millis, Rejection, Slot};
use crate::id::WorkerId;

impl Cluster {
    /// Opens a session. A worker that is in session already has lost it, whether its end was heard of or not.
    pub(super) fn handle_join(
        &mut self,
        now: Millis,
        worker: WorkerId,
        slots: Vec<Slot>,
    ) -> Result<Vec<Effect>, Rejection> {
        self.workers.check_join(&worker, &slots)?;
        let mut effects = Vec::new();
        if self.workers.is_connected(&worker) {
            self.end_session(now, &worker, &mut effects)?;
        }
        self.workers.join(now, worker, slots);
        Ok(effects)
    }

    /// Ends a session. All tasks of the worker are free again.
    pub(super) fn handle_leave(
        &mut self,
        now: Millis,
        worker: &WorkerId,
        reason: LeaveReason,
    ) -> Result<Vec<Effect>, Rejection> {
        let mut effects = Vec::new();
        self.end_session(now, worker, &mut effects)?;
        if reason == LeaveReason::Silent {
            effects.insert(0, Effect::Lost { worker: worker.clone() });
        }
        Ok(effects)
    }

    /// Extends all leases of a worker.
    pub(super) fn handle_heartbeat(&mut self, now: Millis, worker: &WorkerId) -> Result<Vec<Effect>, Rejection> {
        self.workers.hear(now, worker)?;
        Ok(Vec::new())
    }

    /// Lets a slot wait for a task. A slot that asks while it holds a lease knows nothing of the task any more.
    pub(super) fn handle_ready(&mut self, now: Millis, worker: &WorkerId, slot: u32) -> Result<Vec<Effect>, Rejection> {
        let mut effects = Vec::new();
        match *self.workers.slot_mut(worker, slot)? {
            SlotState::Waiting { .. } => return Ok(effects),
            SlotState::Idle => {}
            SlotState::Busy { task } => {
                self.workers.free(worker, slot);
                let lease = self.task_mut(task).lease().cloned().expect("a busy slot's task is leased to it");
                let lease = lease.key(self.task_id(task));
                effects.push(Effect::Revoke { worker: worker.clone(), lease });
                self.take_back(now, &[task], &mut effects);
            }
        }
        let ticket = self.queue.wait(SlotKey { worker: worker.clone(), slot });
        *self.workers.slot_mut(worker, slot)? = SlotState::Waiting { ticket };
        self.grant_waiting(&mut effects);
        Ok(effects)
    }

    fn end_session(&mut self, now: Millis, worker: &WorkerId, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        let slots = self.workers.leave(worker)?;
        let mut tasks = Vec::new();
        for (_, slot) in slots {
            match slot {
                SlotState::Idle => {}
                SlotState::Waiting { ticket } => self.queue.stop_waiting(ticket),
                SlotState::Busy { task } => tasks.push(task),
            }
        }
        self.take_back(now, &tasks, effects);
        Ok(())
    }
}
