//! Grants: how tasks come to slots, and back.

use super::job::{Failed, Followup, Hopeless, JobPhase, JobState};
use super::queue::SlotKey;
use super::ready::{Lane, Place};
use super::restart::{Verdict, after_loss, clipped};
use super::task::{Lease, Pause, Success, Task, TaskKey, TaskState};
use super::worker::SlotState;
use super::{Cluster, Effect, LeaseKey, Millis};
use crate::id::TaskId;

/// How a task came back without a word on how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenBack {
    /// Its worker is gone, or has come back without it.
    Lost,
    /// Its worker gave it back.
    HandedBack,
}

impl Cluster {
    pub(super) fn job_of(&mut self, key: TaskKey) -> &mut JobState {
        &mut self.jobs[key.job as usize]
    }

    pub(super) fn task(&self, key: TaskKey) -> &Task {
        &self.jobs[key.job as usize].tasks[key.task as usize]
    }

    pub(super) fn task_mut(&mut self, key: TaskKey) -> &mut Task {
        &mut self.jobs[key.job as usize].tasks[key.task as usize]
    }

    pub(super) fn task_id(&self, key: TaskKey) -> TaskId {
        self.jobs[key.job as usize].task_id(key.task)
    }

    pub(super) fn newest_grant(&self, key: TaskKey) -> LeaseKey {
        LeaseKey { task: self.task_id(key), attempt: self.task(key).attempts }
    }

    /// Grants ready tasks to waiting slots until one or the other has run out, and asks back what stands in the way of
    /// more urgent ones. Every command ends with this, so that nothing is granted before all that it takes back is back.
    pub(super) fn assign(&mut self, effects: &mut Vec<Effect>) {
        while let Some((key, slot)) = self.next_match() {
            effects.push(self.grant(key, slot));
        }
        self.preempt(effects);
    }

    /// A task goes back to a worker on which it has failed only if no other one waits.
    fn next_match(&mut self) -> Option<(TaskKey, SlotKey)> {
        let jobs = &self.jobs;
        self.queue.next_match(|key, worker| jobs[key.job as usize].tasks[key.task as usize].failed_on.contains(worker))
    }

    fn grant(&mut self, key: TaskKey, slot: SlotKey) -> Effect {
        let SlotKey { worker, slot } = slot;
        self.grants += 1;
        let grant = self.grants;
        let task = self.task_mut(key);
        task.attempts += 1;
        task.state = TaskState::Leased(Lease { worker: worker.clone(), slot, attempt: task.attempts, grant });
        self.workers.set_slot(&worker, slot, SlotState::Busy { task: key });
        self.set_preemptible(key, true);
        let work = self.jobs[key.job as usize].work(key.task);
        Effect::Grant { worker, slot, lease: self.newest_grant(key), work }
    }

    /// Frees the slot that is at a task. The task's new state is up to the caller.
    pub(super) fn end_lease(&mut self, key: TaskKey) -> Lease {
        self.set_preemptible(key, false);
        let lease = self.task(key).lease().cloned().expect("only a leased task's lease ends");
        self.workers.set_slot(&lease.worker, lease.slot, SlotState::Idle);
        self.queue.release(&self.jobs[key.job as usize].job.namespace);
        lease
    }

    /// Takes leases back, and carries out what follows.
    pub(super) fn take_back(&mut self, now: Millis, tasks: &[TaskKey], taken: TakenBack, effects: &mut Vec<Effect>) {
        let followups: Vec<_> = tasks.iter().map(|&key| (key.job, self.set_back(key, taken))).collect();
        for (job, followup) in followups {
            self.follow(now, job, followup, effects);
        }
    }

    /// What is trained already stays trained; all else goes on from its last checkpoint, at once.
    fn set_back(&mut self, key: TaskKey, taken: TakenBack) -> Followup {
        self.end_lease(key);
        let (id, settings) = (self.task_id(key), self.settings);
        let mut followup = Followup::default();
        let job = self.job_of(key);
        if job.is_trained(key.task) {
            let attempt = job.tasks[key.task as usize].attempts;
            job.finish(key.task, Success { attempt, artifact: None });
            return followup;
        }
        let verdict = match taken {
            TakenBack::Lost => after_loss(self.task_mut(key), &id, &settings),
            TakenBack::HandedBack => Verdict::Again,
        };
        match verdict {
            Verdict::Hopeless(message) => self.give_up(key, message, &mut followup),
            Verdict::Again | Verdict::Later(..) => self.ready_again(key, &mut followup),
        }
        followup
    }

    pub(super) fn ready_again(&mut self, key: TaskKey, followup: &mut Followup) {
        self.task_mut(key).state = TaskState::Ready;
        followup.ready.push(key.task);
    }

    pub(super) fn pause(&mut self, key: TaskKey, until: Millis) {
        self.task_mut(key).state = TaskState::Paused(Pause { until });
        self.queue.pause(until, key);
    }

    pub(super) fn give_up(&mut self, key: TaskKey, message: String, followup: &mut Followup) {
        self.job_of(key).give_up(key.task, message, followup);
    }

    /// Carries out what follows from a step of a job.
    pub(super) fn follow(&mut self, now: Millis, job: u32, mut followup: Followup, effects: &mut Vec<Effect>) {
        if matches!(self.jobs[job as usize].phase, JobPhase::Failed(_) | JobPhase::Cancelled(_)) {
            return;
        }
        for &task in &followup.recalled {
            self.recall(TaskKey { job, task }, effects);
        }
        self.jobs[job as usize].advance(&mut followup);
        for task in followup.ready {
            let key = TaskKey { job, task };
            self.queue.push(self.lane(key), self.place(key));
        }
        effects.append(&mut followup.effects);
        if let Some(hopeless) = followup.hopeless {
            self.fail_job(now, job, hopeless, effects);
        }
    }

    fn fail_job(&mut self, now: Millis, job: u32, hopeless: Hopeless, effects: &mut Vec<Effect>) {
        let Hopeless { message, task } = hopeless;
        let failed = Failed { message: clipped(&message), task, ended: now };
        self.end_job(job, JobPhase::Failed(failed), effects);
    }

    /// Ends a job: its leases are revoked, and nothing of it is granted any more.
    pub(super) fn end_job(&mut self, job: u32, phase: JobPhase, effects: &mut Vec<Effect>) {
        self.jobs[job as usize].end(phase);
        for task in 0..self.jobs[job as usize].tasks.len() as u32 {
            self.withdraw(TaskKey { job, task }, effects);
        }
        effects.push(Effect::JobEnded { job: self.jobs[job as usize].id.clone() });
    }

    fn withdraw(&mut self, key: TaskKey, effects: &mut Vec<Effect>) {
        if !matches!(self.task(key).state, TaskState::Done(_) | TaskState::Failed) {
            self.take_out(key, effects);
            self.task_mut(key).state = TaskState::Withdrawn;
        }
    }

    /// Sets a task back, whether it is done or on its way, and has it granted again if it can start.
    fn recall(&mut self, key: TaskKey, effects: &mut Vec<Effect>) {
        if matches!(self.task(key).state, TaskState::Failed | TaskState::Withdrawn) {
            return;
        }
        self.take_out(key, effects);
        if self.job_of(key).set_back(key.task) {
            self.queue.push(self.lane(key), self.place(key));
        }
    }

    /// Takes a task out of everything that would bring it forward. Its new state is up to the caller.
    fn take_out(&mut self, key: TaskKey, effects: &mut Vec<Effect>) {
        match self.task(key).state.clone() {
            TaskState::Blocked | TaskState::Done(_) | TaskState::Failed | TaskState::Withdrawn => {}
            TaskState::Ready => self.queue.remove(&self.lane(key), self.place(key)),
            TaskState::Paused(pause) => self.queue.end_pause(pause.until, key),
            TaskState::Leased(_) => {
                let lease = self.end_lease(key);
                let key = lease.key(self.task_id(key));
                effects.push(Effect::Revoke { worker: lease.worker, lease: key });
            }
        }
    }

    fn lane(&self, key: TaskKey) -> Lane {
        let job = &self.jobs[key.job as usize].job;
        Lane { priority: job.priority, namespace: job.namespace.clone() }
    }

    fn place(&self, key: TaskKey) -> Place {
        Place { training: self.task(key).is_training(), key }
    }
}
