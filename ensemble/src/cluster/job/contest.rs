//! Cross-validations: who wins, and what follows for the winners.

use super::{Followup, JobState};
use crate::expand::{Contest, ModelRef, packs, seed};
use crate::job::{StopMetric, Winners};
use crate::metrics::Scores;
use crate::run::{Goal, ModelKind, Run, Samples};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct ContestState {
    pub contest: Contest,
    /// The members that its winners become, by rank.
    pub places: Vec<u32>,
    /// Runs whose models are not evaluated yet.
    pub open: u32,
}

impl ContestState {
    pub fn new(contest: Contest) -> Self {
        let open = contest.runs();
        Self { contest, places: Vec::new(), open }
    }
}

impl JobState {
    /// Counts a model of a contest in, once, when it is evaluated or lost, and decides the contest with the last.
    pub(super) fn count_in(&mut self, model: u32, followup: &mut Followup) {
        let entry = &mut self.models[model as usize];
        let Some(contest) = entry.contest else { return };
        if std::mem::replace(&mut entry.counted, true) {
            return;
        }
        let state = &mut self.contests[contest as usize];
        state.open -= 1;
        if state.open > 0 {
            return;
        }
        self.open.contests -= 1;
        match state.contest.winners {
            Winners::FoldModels => self.promote_models(contest, followup),
            Winners::Configurations => self.train_winners(contest, followup),
        }
    }

    /// The best models become members as they are.
    fn promote_models(&mut self, contest: u32, followup: &mut Followup) {
        let ContestState { contest, places, .. } = self.contests[contest as usize].clone();
        let runs = contest.first_run..contest.first_run + contest.runs();
        let judged = runs.filter_map(|run| Some((self.loss(&contest, run)?, run)));
        for (place, run) in places.into_iter().zip(ranked(judged.collect())) {
            let model = ModelRef { run, kind: ModelKind::Final };
            self.place(place, self.model_of[&model], followup);
        }
    }

    /// The best recipes are trained again on the whole training part. One of which folds are lost comes after those that
    /// were tried on more: it may be the recipe that fails.
    fn train_winners(&mut self, contest: u32, followup: &mut Followup) {
        let ContestState { contest, places, .. } = self.contests[contest as usize].clone();
        let mut tried = vec![(0, 0.0); contest.configurations.len()];
        for run in contest.first_run..contest.first_run + contest.runs() {
            let Some(loss) = self.loss(&contest, run) else { continue };
            let (folds, sum) = &mut tried[contest.configuration_of(run)];
            (*folds, *sum) = (*folds + 1, *sum + loss);
        }
        let judged = tried.into_iter().enumerate().filter(|(_, (folds, _))| *folds > 0);
        let mut judged: Vec<_> = judged.map(|(of, (folds, sum))| (folds, (sum / f64::from(folds), of))).collect();
        judged.sort_by_key(|(folds, _)| Reverse(*folds));
        let by_folds = judged.chunk_by(|(one, _), (other, _)| one == other);
        let winners = by_folds.flat_map(|equal| ranked(equal.iter().map(|(_, tried)| *tried).collect()));
        let winners = winners.take(places.len()).zip(contest.first_refit..);
        let runs: Vec<_> = winners.map(|(of, index)| self.refit(&contest, of, index)).collect();
        let packs = packs(&runs);
        let indexes: Vec<_> = runs.iter().map(|run| run.index).collect();
        self.add_runs(runs);
        for (place, run) in places.into_iter().zip(indexes) {
            let model = self.model_of[&ModelRef { run, kind: ModelKind::Final }];
            self.place(place, model, followup);
        }
        packs.into_iter().for_each(|pack| self.add_training(pack, followup));
    }

    fn refit(&self, contest: &Contest, configuration: usize, index: u32) -> Run {
        let configuration = &contest.configurations[configuration];
        Run {
            index,
            name: configuration.name.clone(),
            seed: seed(&self.job, index),
            model: configuration.model.clone(),
            train: configuration.train.clone(),
            samples: Samples::Training,
            goal: Goal::Final,
            averages: Vec::new(),
            branch_points: Vec::new(),
        }
    }

    /// By what a run of a contest is judged: less is better. None of a run that is lost.
    fn loss(&self, contest: &Contest, run: u32) -> Option<f64> {
        let model = &self.models[self.model_of[&ModelRef { run, kind: ModelKind::Final }] as usize];
        if model.is_lost() {
            return None;
        }
        let held_out = model.scores().and_then(|scores| scores.held_out);
        let held_out = held_out.expect("a contest is decided when all that is not lost is scored on what it held out");
        Some(loss(contest.metric, &held_out))
    }

    /// How many winners an undecided contest can still have, with the places that are not lost.
    pub(super) fn candidates_left(&self, contest: u32) -> usize {
        let contest = &self.contests[contest as usize].contest;
        let runs = contest.first_run..contest.first_run + contest.runs();
        let left = runs.filter(|&run| {
            let model = self.model_of[&ModelRef { run, kind: ModelKind::Final }];
            !self.models[model as usize].is_lost()
        });
        match contest.winners {
            Winners::FoldModels => left.count(),
            Winners::Configurations => left.map(|run| contest.configuration_of(run)).collect::<BTreeSet<_>>().len(),
        }
    }
}

fn loss(metric: StopMetric, scores: &Scores) -> f64 {
    match metric {
        StopMetric::Nll => scores.nll,
        StopMetric::Accuracy => -scores.accuracy,
    }
}

/// Whoever has the least loss first; equal ones in their order.
fn ranked<T>(mut judged: Vec<(f64, T)>) -> Vec<T> {
    judged.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    judged.into_iter().map(|(_, whose)| whose).collect()
}
