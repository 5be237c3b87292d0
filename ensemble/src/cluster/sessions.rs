//! Workers come, go, come back, show that they are alive, and ask for tasks.
//!
//! The end of a session is not the end of what its worker does. A worker that is not in session keeps its leases until
//! they run out; when it joins again it says what it still holds, and goes on with what still counts.

use super::grants::TakenBack;
use super::queue::SlotKey;
use super::task::TaskKey;
use super::worker::{SlotEntry, SlotState};
use super::{Cluster, Effect, LeaveReason, Millis, Rejection, Slot};
use crate::id::WorkerId;
use std::collections::BTreeSet;

impl Cluster {
    /// Opens a session. Of the leases that the worker had, those that it holds stay with it; the others were lost with
    /// whatever worked under them, and are taken back. What else it holds is somebody else's by now.
    pub(super) fn handle_join(
        &mut self,
        now: Millis,
        worker: WorkerId,
        slots: Vec<Slot>,
    ) -> Result<Vec<Effect>, Rejection> {
        self.workers.check_join(&worker, &slots)?;
        self.dismiss(&worker, SlotState::Idle);
        let mut effects = Vec::new();
        let kept: BTreeSet<_> = slots.iter().filter_map(|slot| self.kept(&worker, slot)?.task()).collect();
        let lost: Vec<_> = self.tasks_of(&worker).into_iter().filter(|task| !kept.contains(task)).collect();
        self.take_away(now, &worker, &lost, TakenBack::Lost, &mut effects);
        let slots = slots.into_iter().map(|slot| self.take_up(&worker, slot, &mut effects)).collect();
        self.workers.join(now, worker.clone(), slots);
        self.enlist(&worker);
        self.ask_again(&worker, &mut effects);
        Ok(effects)
    }

    /// Ends a session, or what was left of one.
    pub(super) fn handle_leave(
        &mut self,
        now: Millis,
        worker: &WorkerId,
        reason: LeaveReason,
    ) -> Result<Vec<Effect>, Rejection> {
        let mut effects = Vec::new();
        match reason {
            LeaveReason::Disconnected => {
                self.workers.in_session(worker)?;
                self.lose_sight(worker);
            }
            LeaveReason::Drained => self.let_go(now, worker, TakenBack::HandedBack, &mut effects)?,
            LeaveReason::Silent => {
                effects.push(Effect::Lost { worker: worker.clone() });
                self.let_go(now, worker, TakenBack::Lost, &mut effects)?;
            }
        }
        Ok(effects)
    }

    /// After an absence of the coordinator, every worker has a whole lease to be heard of again.
    pub(super) fn handle_resume(&mut self, now: Millis, sessions_ended: bool) -> Vec<Effect> {
        let alive = self.workers.iter().filter(|(_, worker)| worker.slots().is_some());
        let alive: Vec<_> = alive.map(|(id, worker)| (id.clone(), worker.is_connected())).collect();
        for (worker, connected) in alive {
            if connected && sessions_ended {
                self.lose_sight(&worker);
            }
            self.workers.hear(now, &worker);
        }
        Vec::new()
    }

    /// Extends all leases of a worker.
    pub(super) fn handle_heartbeat(&mut self, now: Millis, worker: &WorkerId) -> Result<Vec<Effect>, Rejection> {
        self.workers.in_session(worker)?;
        self.workers.hear(now, worker);
        Ok(Vec::new())
    }

    /// Lets a slot wait for a task. A slot that has one asked before it heard of it, and will: what a session says arrives
    /// in order. To take the task back instead would have the slot ask anew, and so on without an end.
    pub(super) fn handle_ready(&mut self, worker: &WorkerId, slot: u32) -> Result<Vec<Effect>, Rejection> {
        self.workers.in_session(worker)?;
        let unknown = || Rejection::Unexpected(format!("worker `{worker}` has no slot {slot}"));
        if matches!(self.workers.slot(worker, slot).ok_or_else(unknown)?, SlotState::Idle) {
            self.wait(worker, slot);
        }
        Ok(Vec::new())
    }

    /// Lets a slot stand in line, or beside it if its worker is given no tasks.
    pub(super) fn wait(&mut self, worker: &WorkerId, slot: u32) {
        let takes_tasks = self.workers.get(worker).is_some_and(|worker| worker.takes_tasks());
        let state = match takes_tasks {
            true => SlotState::Waiting { ticket: self.queue.wait(SlotKey { worker: worker.clone(), slot }) },
            false => SlotState::Barred,
        };
        self.workers.set_slot(worker, slot, state);
    }

    /// The tasks that a worker's slots are at.
    fn tasks_of(&self, worker: &WorkerId) -> Vec<TaskKey> {
        self.workers.slots(worker).into_iter().filter_map(|(_, state)| state.task()).collect()
    }

    /// What a worker was asked for before its session, it may not have heard.
    fn ask_again(&self, worker: &WorkerId, effects: &mut Vec<Effect>) {
        for (_, state) in self.workers.slots(worker) {
            if let SlotState::Yielding { task } = state {
                effects.push(Effect::Yield { worker: worker.clone(), lease: self.newest_grant(task) });
            }
        }
    }

    /// What a slot did before this session, if it still holds the lease of that.
    fn kept(&self, worker: &WorkerId, slot: &Slot) -> Option<SlotState> {
        let state = self.workers.slot(worker, slot.index)?;
        let lease = self.newest_grant(state.task()?);
        (slot.holds.as_ref() == Some(&lease)).then_some(state)
    }

    /// A slot as it begins a session.
    fn take_up(&self, worker: &WorkerId, slot: Slot, effects: &mut Vec<Effect>) -> (u32, SlotEntry) {
        let kept = self.kept(worker, &slot);
        let Slot { index, device, holds } = slot;
        let worker = worker.clone();
        effects.extend(holds.map(|lease| match kept {
            Some(_) => Effect::Kept { worker, slot: index, lease },
            None => Effect::Revoke { worker, lease },
        }));
        (index, SlotEntry { device, state: kept.unwrap_or(SlotState::Idle) })
    }

    fn lose_sight(&mut self, worker: &WorkerId) {
        self.dismiss(worker, SlotState::Idle);
        self.workers.lose_sight(worker);
    }

    /// Takes back what a worker had, and has it told: a grant of a session that is over may not have been sent yet, and
    /// would reach the worker in the next.
    fn take_away(
        &mut self,
        now: Millis,
        worker: &WorkerId,
        tasks: &[TaskKey],
        taken: TakenBack,
        effects: &mut Vec<Effect>,
    ) {
        let revoked = |&task: &TaskKey| Effect::Revoke { worker: worker.clone(), lease: self.newest_grant(task) };
        effects.extend(tasks.iter().map(revoked));
        self.take_back(now, tasks, taken, effects);
    }

    /// Lets a worker go that has no session any more, or is to have none.
    fn let_go(
        &mut self,
        now: Millis,
        worker: &WorkerId,
        taken: TakenBack,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Rejection> {
        if self.workers.get(worker).and_then(|worker| worker.slots()).is_none() {
            return Err(Rejection::UnknownWorker(worker.clone()));
        }
        self.dismiss(worker, SlotState::Idle);
        self.take_away(now, worker, &self.tasks_of(worker), taken, effects);
        self.workers.go(now, worker);
        Ok(())
    }
}
