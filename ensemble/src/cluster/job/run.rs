//! Runs and their checkpoints.

use super::super::Millis;
use super::super::settings::CHECKPOINTS_PER_RUN;
use crate::run::{Artifact, Goal, Run};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct RunState {
    pub run: Run,
    /// The task that trains it.
    pub task: u32,
    /// The last ones, the newest last.
    pub checkpoints: VecDeque<Checkpoint>,
    /// In the order of the run's branch points.
    pub branches: Vec<Branch>,
}

/// A committed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Checkpoint {
    pub step: u64,
    pub artifact: Artifact,
    pub committed: Millis,
    /// Nothing starts from it any more, so it may be gone from the store.
    #[serde(default, skip_serializing_if = "is_false")]
    pub released: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A point at which other runs leave this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Branch {
    /// The checkpoint that stands there. The first one stays: runs may have started from it.
    pub checkpoint: Option<Checkpoint>,
    /// The step at which it stands, known since the run first came there.
    #[serde(default)]
    pub step: Option<u64>,
    /// The runs that leave there.
    #[serde(default)]
    pub leaving: Vec<u32>,
    /// Those of their tasks that wait for it.
    pub tasks: Vec<u32>,
}

impl Branch {
    /// The checkpoint, if runs can start from it.
    pub fn start(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().filter(|checkpoint| !checkpoint.released)
    }
}

impl RunState {
    pub fn new(run: Run) -> Self {
        let branch = |_| Branch { checkpoint: None, step: None, leaving: Vec::new(), tasks: Vec::new() };
        let branches = run.branch_points.iter().map(branch).collect();
        Self { run, task: 0, checkpoints: VecDeque::new(), branches }
    }

    /// The run that this one leaves, and where.
    pub fn origin(&self) -> Option<(u32, f64)> {
        match self.run.goal {
            Goal::Swa { from_run, start, .. } => Some((from_run, start)),
            Goal::Final | Goal::Snapshots { .. } => None,
        }
    }

    pub fn branch_at(&mut self, start: f64) -> &mut Branch {
        let place = self.run.branch_points.iter().position(|&point| point == start);
        &mut self.branches[place.expect("expansion gives the parent a branch point for every branch")]
    }

    pub fn branch(&self, start: f64) -> Option<&Branch> {
        let place = self.run.branch_points.iter().position(|&point| point == start)?;
        self.branches.get(place)
    }

    /// The checkpoint at which runs that leave at `start` begin.
    pub fn branch_checkpoint(&self, start: f64) -> Option<&Checkpoint> {
        self.branch(start)?.start()
    }

    /// The checkpoints that the run can go on from, the newest first.
    pub fn resumable(&self) -> impl Iterator<Item = &Checkpoint> {
        self.checkpoints.iter().rev().filter(|checkpoint| !checkpoint.released)
    }

    /// Takes a checkpoint, and releases all but the newest `kept`. A run that was set back commits steps again: what it
    /// had beyond them is of another past.
    pub fn commit(&mut self, checkpoint: Checkpoint, kept: usize) {
        self.checkpoints.retain(|older| older.step < checkpoint.step);
        self.checkpoints.push_back(checkpoint);
        if self.checkpoints.len() > CHECKPOINTS_PER_RUN {
            self.checkpoints.pop_front();
        }
        self.release(kept);
    }

    /// Releases all checkpoints but the newest `kept`. What was released once may be gone.
    pub fn release(&mut self, kept: usize) {
        self.checkpoints.iter_mut().rev().skip(kept).for_each(|checkpoint| checkpoint.released = true);
    }
}
