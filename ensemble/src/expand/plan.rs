//! What a job amounts to before anything has run.

use crate::job::{Model, StopMetric, Train, Winners};
use crate::run::{ModelKind, Run};
use serde::{Deserialize, Serialize};

/// A job's runs, and what becomes of the models they yield.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The runs that are known from the start, by index.
    pub runs: Vec<Run>,
    /// How many runs the job has at most: those above, and those that winners of contests may need, whose indexes follow.
    pub runs_reserved: u32,
    /// The runs of each `train` task, by index.
    pub packs: Vec<Vec<u32>>,
    /// The members, in the ensemble's order.
    pub members: Vec<PlannedMember>,
    /// The averages, in the job file's order.
    pub averages: Vec<PlannedAverage>,
    /// The cross-validations, in the job file's order.
    pub contests: Vec<Contest>,
}

/// One of the models that a run yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelRef {
    /// The run, by index.
    pub run: u32,
    /// Which of its models.
    pub kind: ModelKind,
}

/// A place in the ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMember {
    /// What it is called. A winner takes its run's name once it is known.
    pub name: String,
    /// Whose place it is.
    pub source: MemberSource,
}

/// Where a member comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberSource {
    /// A model that is known from the start.
    Model(ModelRef),
    /// Whoever comes out of a contest at this rank, from 0.
    Winner {
        /// The contest, by its place in [`Plan::contests`].
        contest: u32,
        /// The rank.
        rank: u32,
    },
}

/// An average of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAverage {
    /// `ema`, `swa` or `soup`, with `-2`, `-3` and so on where there are several.
    pub name: String,
    /// How it is made.
    pub source: AverageSource,
}

/// How an average is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AverageSource {
    /// A run keeps it along the way.
    Run(ModelRef),
    /// The coordinator averages the models of these members.
    Soup {
        /// The members, by index.
        members: Vec<u32>,
    },
}

/// A cross-validation: every configuration is tried on every fold, and the best win.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// The points of the grid.
    pub configurations: Vec<Configuration>,
    /// How many folds.
    pub folds: u32,
    /// The run of the first configuration on the first fold. The others follow: run `first + fold * configurations +
    /// configuration`.
    pub first_run: u32,
    /// The index of the first run that a winning configuration is trained again as.
    pub first_refit: u32,
    /// How many winners there are.
    pub keep: u32,
    /// What wins.
    pub winners: Winners,
    /// By which score of the held-out fold.
    pub metric: StopMetric,
}

/// A recipe of a contest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// What the run of this recipe on all training data is called: `config-2`.
    pub name: String,
    /// The network.
    pub model: Model,
    /// The recipe.
    pub train: Train,
}

impl Contest {
    /// How many runs compete.
    pub fn runs(&self) -> u32 {
        self.folds * self.configurations.len() as u32
    }

    /// Whether a run is one of the contest's.
    pub fn has(&self, run: u32) -> bool {
        (self.first_run..self.first_run + self.runs()).contains(&run)
    }

    /// The configuration of one of the contest's runs.
    pub fn configuration_of(&self, run: u32) -> usize {
        (run - self.first_run) as usize % self.configurations.len()
    }
}
