//! The `members` section: where the networks of the ensemble come from.

use super::train::StopMetric;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One source of members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Members {
    /// Independent runs that differ in initialisation and data order (Lakshminarayanan et al. 2017, arXiv:1612.01474).
    Seeds(Seeds),
    /// One run whose learning rate goes up and down; each cycle's end is a member (Huang et al. 2017, arXiv:1704.00109).
    Snapshots(Snapshots),
    /// The winners of a stratified cross-validation.
    CrossValidation(CrossValidation),
}

impl Members {
    /// How many members this source gives.
    pub fn count(&self) -> u32 {
        match self {
            Self::Seeds(seeds) => seeds.count,
            Self::Snapshots(snapshots) => snapshots.members(),
            Self::CrossValidation(validation) => validation.keep,
        }
    }
}

impl Snapshots {
    /// How many of the snapshots become members.
    pub fn members(&self) -> u32 {
        self.keep_last.unwrap_or(self.cycles)
    }
}

/// Independent runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// How many.
    pub count: u32,
}

/// One run of several learning-rate cycles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshots {
    /// How many cycles of equal length the run has.
    pub cycles: u32,
    /// How many of the last snapshots become members; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// Epochs of the whole run; `train.epochs` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// The learning rate at which each cycle starts; the highest of `train.learning_rate` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

/// Stratified folds over a grid of recipes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossValidation {
    /// How many folds.
    pub folds: u32,
    /// Keys of the job file and the values each shall take; every combination is tried on every fold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grid: BTreeMap<String, Vec<GridValue>>,
    /// How many winners become members.
    pub keep: u32,
    /// What a winner is.
    #[serde(default)]
    pub winners: Winners,
    /// By which score of the held-out fold they are chosen.
    #[serde(default)]
    pub metric: StopMetric,
}

/// A value of a grid: any JSON value that may stand at its key.
pub type GridValue = serde_json::Value;

/// What wins a cross-validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Winners {
    /// The best single models, as their folds trained them.
    #[default]
    FoldModels,
    /// The best recipes by their mean over the folds, each trained again on the whole training part.
    Configurations,
}
