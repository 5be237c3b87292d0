//! Preemption: a training that waits takes the slot of one of lower priority.
//!
//! The worker is asked to commit a checkpoint and to hand the task back, once for each lease. Nothing is taken by force: a
//! worker that does not answer loses nothing. No more are asked than are needed, because slots that were asked for, or
//! that have just become free and will ask by themselves, are counted before another is. And since only a lower priority
//! is asked, no two tasks can chase each other from a slot.

use super::task::TaskKey;
use super::worker::SlotState;
use super::{Cluster, Effect};
use crate::id::WorkerId;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Trainings that can be asked back: those on slots of workers that are given tasks, and that were not asked for yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Preemptible(BTreeSet<Candidate>);

/// A training that can be asked back; the least is asked first. Of the lowest priority it is the newest, which has least
/// to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Candidate {
    priority: u8,
    grant: Reverse<u64>,
    key: TaskKey,
}

impl Cluster {
    /// Asks back what stands in the way of trainings of higher priority.
    pub(super) fn preempt(&mut self, effects: &mut Vec<Effect>) {
        while let Some(key) = self.next_to_preempt() {
            let lease = self.task(key).lease().cloned().expect("what can be asked back is leased");
            self.ask_back(&lease.worker, lease.slot, key, effects);
        }
    }

    fn next_to_preempt(&self) -> Option<TaskKey> {
        let least = self.preemptible.0.first()?;
        // Most clusters know one priority: they are done here.
        self.queue.priority_of_training(0).filter(|waiting| *waiting > least.priority)?;
        let waiting = self.queue.priority_of_training(self.workers.slots_coming())?;
        (waiting > least.priority).then_some(least.key)
    }

    /// Asks a worker to hand a task back.
    pub(super) fn ask_back(&mut self, worker: &WorkerId, slot: u32, task: TaskKey, effects: &mut Vec<Effect>) {
        self.set_preemptible(task, false);
        self.workers.set_slot(worker, slot, SlotState::Yielding { task });
        effects.push(Effect::Yield { worker: worker.clone(), lease: self.newest_grant(task) });
    }

    /// Notes whether a leased task can be asked back. Only trainings can: all else is soon done.
    pub(super) fn set_preemptible(&mut self, key: TaskKey, can_be: bool) {
        let task = self.task(key);
        let (true, Some(lease)) = (task.is_training(), task.lease()) else { return };
        let priority = self.jobs[key.job as usize].job.priority;
        let candidate = Candidate { priority, grant: Reverse(lease.grant), key };
        if can_be {
            self.preemptible.0.insert(candidate);
        } else {
            self.preemptible.0.remove(&candidate);
        }
    }
}
