//! Which runs train side by side in one task.

use crate::job::{LearningRate, Train};
use crate::run::{Goal, Run, Samples};
use std::collections::BTreeMap;

/// Groups runs, by index, into packs of up to `train.pack`, in the order of their first runs.
///
/// The runs of a pack have the same network, the same recipe but for the learning rate, and as much data. A run of
/// snapshots and a run that branches off another stay alone: the former is one of its kind, the latter starts late.
pub(crate) fn packs(runs: &[Run]) -> Vec<Vec<u32>> {
    let mut packs: Vec<Vec<u32>> = Vec::new();
    // For each kind of run, the newest pack.
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let kind = kind(run);
        match kind.as_ref().and_then(|kind| newest.get(kind)) {
            Some(&pack) if packs[pack].len() < run.train.pack as usize => packs[pack].push(run.index),
            _ => {
                newest.extend(kind.map(|kind| (kind, packs.len())));
                packs.push(vec![run.index]);
            }
        }
    }
    packs
}

/// What the runs of a pack have in common; nothing for a run that stays alone.
fn kind(run: &Run) -> Option<String> {
    let recipe = Train { learning_rate: LearningRate::default(), ..run.train.clone() };
    // Folds of one cross-validation are of one size, to within a sample a class.
    let folds = match run.samples {
        Samples::Training => 0,
        Samples::AllButFold { folds, .. } => folds,
    };
    let kind = (&run.model, recipe, folds);
    (run.goal == Goal::Final).then(|| serde_json::to_string(&kind).expect("a recipe is maps, numbers and strings"))
}
