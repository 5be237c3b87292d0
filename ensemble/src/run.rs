//! Runs and the models they yield: the units that a job is made of once its members are expanded.

use crate::id::Digest;
use crate::job::{Model, Train};
use serde::{Deserialize, Serialize};

/// One training trajectory: a seed, a resolved recipe and a part of the data. Everything that happens in a run is a
/// pure function of this and of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run's number within its job.
    pub index: u32,
    /// What people call it: `seed-0`, `snapshots`, `fold-2`, `fold-2-config-1`, `config-1`, `swa`.
    pub name: String,
    /// The key of every random choice of the run.
    pub seed: u64,
    /// The network.
    pub model: Model,
    /// The recipe, with nothing left to look up elsewhere.
    pub train: Train,
    /// Which samples it learns from.
    pub samples: Samples,
    /// What it is for, and so which models it yields.
    pub goal: Goal,
    /// Moving averages kept along the way; each yields a model of its own at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub averages: Vec<MovingAverage>,
    /// Parts of the run (0 to 1) at which another run branches off: a checkpoint is committed exactly there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branch_points: Vec<f64>,
}

impl Run {
    /// The run's JSON form, the one that travels between processes and stands in the metadata of its models.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a run is maps with string keys, numbers and strings")
    }
}

/// Which samples a run learns from. The job's validation part is in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Samples {
    /// The whole training part.
    Training,
    /// The training part without one of its stratified folds, which is held out and scored.
    AllButFold {
        /// The fold held out, from 0.
        fold: u32,
        /// How many folds there are.
        folds: u32,
    },
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// One model: the weights at the end (the best ones, if the recipe stops early).
    Final,
    /// One model at the end of each of the last learning-rate cycles; `train.learning_rate` is `cosine_cycles`.
    Snapshots {
        /// How many of the last cycles.
        keep_last: u32,
    },
    /// One model: the equal-weight mean of the weights at the end of each epoch, starting from another run's checkpoint.
    Swa {
        /// The average's place in the job's `average` list.
        average: u32,
        /// The run it branches from.
        from_run: u32,
        /// The part of that run after which it branches.
        start: f64,
    },
}

/// A moving average kept along a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovingAverage {
    /// The average's place in the job's `average` list.
    pub average: u32,
    /// How much of the old average each step keeps.
    pub decay: f64,
    /// Whether the decay grows as min(decay, (1 + n) / (10 + n)).
    pub warmup: bool,
}

/// Which of a run's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// The weights at the end of the run.
    Final,
    /// The weights at the end of a learning-rate cycle, from 0.
    Snapshot {
        /// The cycle.
        cycle: u32,
    },
    /// An average, by its place in the job's `average` list.
    Average {
        /// The average.
        index: u32,
    },
}

/// What a run has produced: a model's bytes in the artifact store, and what must be known to use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The bytes' name.
    pub digest: Digest,
    /// How many bytes.
    pub bytes: u64,
}
