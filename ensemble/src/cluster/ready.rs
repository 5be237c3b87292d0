//! Tasks that wait for a slot, and which of them is next.
//!
//! The highest priority goes first. Within a priority, the namespaces take turns by what they have for their weight. Within
//! a namespace, calibrations and evaluations go first: they are short, and what waits for them (a winner's training, a
//! report) is long. Then come the jobs in the order of submission, and their tasks in order, so that the first members
//! are soon there.

use super::shares::Turn;
use super::task::TaskKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which lane a job's tasks wait in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lane {
    pub priority: u8,
    pub namespace: String,
}

/// Where a task stands in its lane; the least is granted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub training: bool,
    pub key: TaskKey,
}

/// All tasks that wait for a slot.
///
/// Every operation costs the logarithm of their number, for each priority that is in use. There are 99 of those.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// By priority; none is empty.
    levels: BTreeMap<u8, Level>,
}

/// The tasks of one priority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Level {
    /// By namespace; none is empty.
    lanes: BTreeMap<String, Waiting>,
    /// The same namespaces, by turn.
    turns: BTreeSet<(Turn, String)>,
    /// How many of the tasks are trainings.
    trainings: usize,
}

/// The tasks of one priority and namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    turn: Turn,
    tasks: BTreeSet<Place>,
}

impl Ready {
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Whether tasks of a namespace wait.
    pub fn has(&self, namespace: &str) -> bool {
        self.levels.values().any(|level| level.lanes.contains_key(namespace))
    }

    /// The highest priority of which tasks wait.
    pub fn most_urgent(&self) -> Option<u8> {
        self.levels.last_key_value().map(|(&priority, _)| priority)
    }

    /// Puts a task in its lane, of which this is the turn.
    pub fn push(&mut self, lane: Lane, place: Place, turn: Turn) {
        let level = self.levels.entry(lane.priority).or_default();
        if let Some(lane) = level.lanes.get_mut(&lane.namespace) {
            level.trainings += usize::from(lane.tasks.insert(place) && place.training);
        } else {
            level.trainings += usize::from(place.training);
            level.turns.insert((turn, lane.namespace.clone()));
            level.lanes.insert(lane.namespace, Waiting { turn, tasks: BTreeSet::from([place]) });
        }
    }

    pub fn remove(&mut self, lane: &Lane, place: Place) {
        let Some(level) = self.levels.get_mut(&lane.priority) else { return };
        level.remove(&lane.namespace, place);
        if level.lanes.is_empty() {
            self.levels.remove(&lane.priority);
        }
    }

    /// The task whose turn it is, which waits no more.
    pub fn pop(&mut self) -> Option<(Lane, Place)> {
        let (&priority, level) = self.levels.last_key_value()?;
        let (_, namespace) = level.turns.first()?;
        let &place = level.lanes.get(namespace)?.tasks.first()?;
        let lane = Lane { priority, namespace: namespace.clone() };
        self.remove(&lane, place);
        Some((lane, place))
    }

    /// Notes that a namespace's turn has changed.
    pub fn reorder(&mut self, namespace: &str, turn: Turn) {
        for level in self.levels.values_mut() {
            let Some(lane) = level.lanes.get_mut(namespace) else { continue };
            if let Some((_, name)) = level.turns.take(&(lane.turn, namespace.to_owned())) {
                level.turns.insert((turn, name));
            }
            lane.turn = turn;
        }
    }

    /// The priority of the training before which `ahead` others go, by priority alone.
    pub fn priority_of_training(&self, mut ahead: usize) -> Option<u8> {
        self.levels.iter().rev().find_map(|(&priority, level)| {
            let here = ahead < level.trainings;
            ahead = ahead.saturating_sub(level.trainings);
            here.then_some(priority)
        })
    }
}

impl Level {
    fn remove(&mut self, namespace: &str, place: Place) {
        let Some(lane) = self.lanes.get_mut(namespace) else { return };
        self.trainings -= usize::from(lane.tasks.remove(&place) && place.training);
        if lane.tasks.is_empty() {
            self.turns.remove(&(lane.turn, namespace.to_owned()));
            self.lanes.remove(namespace);
        }
    }
}
