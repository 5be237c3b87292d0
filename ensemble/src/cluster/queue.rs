//! Ready tasks and waiting slots, and which goes to which. Every operation costs the logarithm of their number.

use super::Millis;
use super::ready::{Lane, Place, Ready};
use super::shares::Shares;
use super::task::TaskKey;
use crate::id::WorkerId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A slot of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SlotKey {
    pub worker: WorkerId,
    pub slot: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue {
    ready: Ready,
    shares: Shares,
    /// By ticket: who has waited longest comes first.
    waiting: BTreeMap<u64, SlotKey>,
    tickets: u64,
    /// Tasks that are tried again later, by when.
    paused: BTreeSet<(Millis, TaskKey)>,
}

impl Queue {
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    pub fn set_weight(&mut self, namespace: &str, weight: u32) {
        let turn = self.shares.set_weight(namespace, weight);
        self.ready.reorder(namespace, turn);
    }

    pub fn push(&mut self, lane: Lane, place: Place) {
        let turn = match self.ready.has(&lane.namespace) {
            true => self.shares.turn(&lane.namespace),
            false => self.shares.come_in(&lane.namespace),
        };
        self.ready.push(lane, place, turn);
    }

    pub fn remove(&mut self, lane: &Lane, place: Place) {
        self.ready.remove(lane, place);
    }

    /// The priority of the training before which `ahead` others go, by priority alone.
    pub fn priority_of_training(&self, ahead: usize) -> Option<u8> {
        self.ready.priority_of_training(ahead)
    }

    /// The highest priority of which tasks wait for a slot.
    pub fn most_urgent(&self) -> Option<u8> {
        self.ready.most_urgent()
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

    /// The next task and the slot that it goes to, if there are both: one that it does not shun, if there is one.
    pub fn next_match(&mut self, shuns: impl Fn(TaskKey, &WorkerId) -> bool) -> Option<(TaskKey, SlotKey)> {
        if self.waiting.is_empty() || self.ready.is_empty() {
            return None;
        }
        let (lane, place) = self.ready.pop()?;
        let turn = self.shares.serve(&lane.namespace);
        self.ready.reorder(&lane.namespace, turn);
        let welcome = self.waiting.iter().find(|(_, slot)| !shuns(place.key, &slot.worker));
        let ticket = welcome.or_else(|| self.waiting.iter().next()).map(|(&ticket, _)| ticket)?;
        self.waiting.remove(&ticket).map(|slot| (place.key, slot))
    }

    /// Notes that a slot is no more at a task of a namespace.
    pub fn release(&mut self, namespace: &str) {
        let turn = self.shares.release(namespace);
        self.ready.reorder(namespace, turn);
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
