//! Cross-validations: who wins, and what follows for the winners.

use super::{Followup, JobState};
use crate::expand::{Contest, ModelRef, packs, seed};
use crate::job::{StopMetric, Winners};
use crate::metrics::Scores;
use crate::run::{Goal, ModelKind, Run, Samples};
use serde::{Deserialize, Serialize};

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
    /// Counts one evaluation of a contest in, and decides it with the last.
    pub(super) fn count_in(&mut self, contest: u32, followup: &mut Followup) {
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
        let losses: Vec<_> = (0..contest.runs()).map(|run| self.loss(&contest, contest.first_run + run)).collect();
        for (place, run) in places.into_iter().zip(ranked(&losses)) {
            let model = ModelRef { run: contest.first_run + run as u32, kind: ModelKind::Final };
            self.place(place, self.model_of[&model], followup);
        }
    }

    /// The best recipes are trained again on the whole training part.
    fn train_winners(&mut self, contest: u32, followup: &mut Followup) {
        let ContestState { contest, places, .. } = self.contests[contest as usize].clone();
        let mut losses = vec![0.0; contest.configurations.len()];
        for run in contest.first_run..contest.first_run + contest.runs() {
            losses[contest.configuration_of(run)] += self.loss(&contest, run);
        }
        let winners = ranked(&losses).into_iter().take(places.len());
        let runs: Vec<_> =
            winners.zip(contest.first_refit..).map(|(of, index)| self.refit(&contest, of, index)).collect();
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

    /// By what a run of a contest is judged: less is better.
    fn loss(&self, contest: &Contest, run: u32) -> f64 {
        let model = self.model_of[&ModelRef { run, kind: ModelKind::Final }];
        let held_out = self.models[model as usize].state.evaluation().and_then(|evaluation| evaluation.scores.held_out);
        loss(
            contest.metric,
            &held_out.expect("a contest is decided when all its runs are scored on what they held out"),
        )
    }
}

fn loss(metric: StopMetric, scores: &Scores) -> f64 {
    match metric {
        StopMetric::Nll => scores.nll,
        StopMetric::Accuracy => -scores.accuracy,
    }
}

/// The places of the losses, the least first; equal ones in their order.
fn ranked(losses: &[f64]) -> Vec<usize> {
    let mut order: Vec<_> = (0..losses.len()).collect();
    order.sort_by(|&one, &other| losses[one].total_cmp(&losses[other]));
    order
}
