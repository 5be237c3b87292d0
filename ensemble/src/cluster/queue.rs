//! Ready tasks and waiting slots, and which goes to which. Every operation costs the logarithm of their number.

use super::Millis;
use super::task::TaskKey;
use crate::id::WorkerId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a ready task stands in the queue; the least is granted first.
///
/// Calibrations and evaluations go first: they are short, and what waits for them (a winner's training, a report) is
/// long. Then the jobs in the order they came, and their tasks in order, so that the first members are soon there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub training: bool,
    pub key: TaskKey,
}

/// A slot of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SlotKey {
    pub worker: WorkerId,
    pub slot: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue {
    ready: BTreeSet<Place>,
    /// By ticket: who has waited longest comes first.
    waiting: BTreeMap<u64, SlotKey>,
    tickets: u64,
    /// Tasks that are tried again later, by when.
    paused: BTreeSet<(Millis, TaskKey)>,
}

impl Queue {
    pub fn push(&mut self, place: Place) {
        self.ready.insert(place);
    }

    pub fn remove(&mut self, place: Place) {
        self.ready.remove(&place);
    }

    /// Lets a slot wait, and gives it its ticket.
    pub fn wait(&mut self, slot: SlotKey) -> u64 {
        self.tickets += 1;
        self.waiting.insert(self.tickets, slot);
        self.tickets
    }

    pub fn stop_waiting(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// The next task and the slot that it goes to, if there are both.
    pub fn next_match(&mut self) -> Option<(TaskKey, SlotKey)> {
        if self.waiting.is_empty() {
            return None;
        }
        let place = self.ready.pop_first()?;
        self.waiting.pop_first().map(|(_, slot)| (place.key, slot))
    }

    pub fn pause(&mut self, until: Millis, key: TaskKey) {
        self.paused.insert((until, key));
    }

    pub fn end_pause(&mut self, until: Millis, key: TaskKey) {
        self.paused.remove(&(until, key));
    }

    /// The tasks whose pause is over at `now`.
    pub fn pauses_over(&self, now: Millis) -> impl Iterator<Item = TaskKey> {
        self.paused.iter().take_while(move |(until, _)| *until <= now).map(|(_, key)| *key)
    }

    pub fn next_pause_end(&self) -> Option<Millis> {
        self.paused.first().map(|(until, _)| *until)
    }
}
