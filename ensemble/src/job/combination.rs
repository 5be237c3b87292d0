//! The `ensemble` section: how the members' predictions become one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How predictions are combined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Combination {
    /// What is averaged.
    pub combine: Combine,
    /// One weight a member, in the members' order, each at least 0; equal weights if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// Which members take part.
    pub select: Select,
    /// What the logits are divided by.
    pub temperature: Temperature,
    /// The fewest members that make an ensemble: the job goes on without members, and averages, whose tasks fail for good,
    /// as long as this many can still be had. If absent, such a failure ends the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_members: Option<u32>,
}

/// What is averaged over the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Softmax probabilities.
    #[default]
    MeanProbability,
    /// Logits, before the softmax.
    MeanLogit,
    /// One vote a member for its most probable class.
    MajorityVote,
}

/// Which members take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// All of them.
    #[default]
    All,
    /// Those that forward selection on the validation part picks, with repetition (Caruana et al. 2004).
    Greedy,
}

/// What the logits are divided by before the softmax (Guo et al. 2017, arXiv:1706.04599).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Temperature {
    /// One.
    #[default]
    One,
    /// The temperature that minimises the ensemble's NLL on the validation part.
    Fitted,
}
