//! The `average` section: models made by averaging weights.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One model made by averaging weights along a trajectory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// An exponential moving average of a run's weights, one update a step (Polyak and Juditsky 1992).
    Ema(Ema),
    /// Stochastic weight averaging: equal weights over the last part of a run (Izmailov et al. 2018, arXiv:1803.05407).
    Swa(Swa),
    /// The mean of stored snapshots or members, made by the coordinator.
    Soup(Soup),
}

/// An exponential moving average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ema {
    /// How much of the old average each step keeps: above 0, below 1.
    pub decay: f64,
    /// Whether the decay grows from 0 as min(decay, (1 + n) / (10 + n)), so that the start is soon forgotten.
    pub warmup: bool,
    /// The member along whose run the average is taken.
    pub member: u32,
}

impl Default for Ema {
    fn default() -> Self {
        Self { decay: 0.995, warmup: true, member: 0 }
    }
}

/// Stochastic weight averaging. It leaves the member's run at `start` and goes on from there at its own learning rate,
/// so that the member itself is what it would have been without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Swa {
    /// The part of the run after which averaging starts: at least 0, below 1.
    pub start: f64,
    /// The constant learning rate from there on.
    pub learning_rate: f64,
    /// The member whose run it branches from.
    pub member: u32,
}

impl Default for Swa {
    fn default() -> Self {
        Self { start: 0.75, learning_rate: 0.05, member: 0 }
    }
}

/// The mean of models that are there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Soup {
    /// Which models.
    pub of: SoupOf,
    /// Average models that share no trajectory as well. Their mean is almost always a bad model.
    #[serde(default)]
    pub force: bool,
}

/// Which models a soup is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SoupOf {
    /// The members that `snapshots` gave.
    Snapshots,
    /// The members that `seeds` gave. They share no trajectory.
    Seeds,
    /// All members.
    Members,
}
