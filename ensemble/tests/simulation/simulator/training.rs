//! Training, without the training: what an engine makes of a task is a pure function of what it is given.
//!
//! A run's weights are one number that each step mixes anew. So the number at the end tells whether every step was taken
//! once, in order, and from the right checkpoint: whoever resumes from another run's checkpoint, skips a step or takes one
//! twice ends with another number, and with other digests than an undisturbed run.

use super::random::{hash, mix};
use super::store::{Content, Store};
use ensemble::cluster::{AverageOutcome, Command, Effect, EvaluationScores, LeaseKey, ReportOutcome, Work};
use ensemble::expand::yields;
use ensemble::id::Digest;
use ensemble::job::{Architecture, Job};
use ensemble::metrics::Scores;
use ensemble::report::{Report, ReportRow};
use ensemble::run::{Artifact, Goal, ModelKind, Run, Samples};
use std::collections::VecDeque;

/// Steps of every run.
pub const STEPS: u64 = 32;
/// A checkpoint is made after so many.
const CHECKPOINT_EVERY: u64 = 8;

/// What an engine has made, to be stored and then reported.
#[derive(Clone, Debug)]
pub enum Product {
    Checkpoint { run: u32, step: u64, branch: Option<u32>, content: Content },
    Model { run: u32, kind: ModelKind, batch_norm: bool, content: Content },
    Calibrated { content: Content },
    Predictions { content: Content, scores: EvaluationScores },
}

/// An engine at a task.
#[derive(Clone, Debug)]
pub enum Engine {
    Train { packs: VecDeque<Pack>, batch_norm: bool },
    Calibrate { state: u64, run: u64 },
    Evaluate { state: u64, held_out: bool },
}

/// Runs in step with one another. Those of a task that are not are trained one pack after the other.
#[derive(Clone, Debug)]
pub struct Pack {
    runs: Vec<Trainee>,
    made_at: u64,
}

/// A run as an engine has it.
#[derive(Clone, Debug)]
pub struct Trainee {
    run: Run,
    key: u64,
    step: u64,
    state: u64,
}

/// The artifacts that a task starts from.
pub fn inputs(work: &Work) -> Vec<Digest> {
    match work {
        Work::Train { runs, .. } => runs.iter().filter_map(|run| Some(run.resume.as_ref()?.digest.clone())).collect(),
        Work::Calibrate { model, .. } | Work::Evaluate { model, .. } => vec![model.digest.clone()],
    }
}

impl Engine {
    /// Takes up a task whose inputs are whole.
    pub fn start(work: &Work, store: &Store) -> Self {
        let read = |artifact: &Artifact| store.read(&artifact.digest).expect("inputs were fetched before");
        match work {
            Work::Train { job, runs } => {
                let of = |one: &ensemble::cluster::TrainRun| Trainee::new(job, &one.run, one.resume.as_ref().map(read));
                let runs: Vec<_> = runs.iter().map(of).collect();
                assert!(!runs.is_empty(), "invariant_a_task_has_something_to_do");
                Self::Train { packs: packs(runs), batch_norm: has_batch_norm(job) }
            }
            Work::Calibrate { job, run, model } => Self::Calibrate { state: weights(read(model)), run: key(job, run) },
            Work::Evaluate { run, model, .. } => {
                let held_out = matches!(run.samples, Samples::AllButFold { .. });
                Self::Evaluate { state: weights(read(model)), held_out }
            }
        }
    }

    /// Takes a step, and hands out what it has made there.
    pub fn step(&mut self) -> Vec<Product> {
        match self {
            Self::Train { packs, batch_norm } => {
                let products = packs.front_mut().map(|pack| pack.step(*batch_norm)).unwrap_or_default();
                packs.pop_front_if(|pack| pack.is_done());
                products
            }
            Self::Calibrate { state, run } => {
                vec![Product::Calibrated { content: Content::Model { state: mix(*state, *run) } }]
            }
            Self::Evaluate { state, held_out } => {
                let content = Content::Predictions { state: mix(*state, 1) };
                vec![Product::Predictions { content, scores: scores(*state, *held_out) }]
            }
        }
    }

    /// The step of the checkpoint once more, as a defect would have it: the weights move, the count does not.
    pub fn step_uncounted(&mut self) {
        if let Self::Train { packs, .. } = self {
            let runs = packs.iter_mut().flat_map(|pack| &mut pack.runs);
            runs.for_each(|run| run.state = mix(mix(run.state, run.key), run.step));
        }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Train { packs, .. } => packs.is_empty(),
            Self::Calibrate { .. } | Self::Evaluate { .. } => true,
        }
    }

    /// What must be stored so that another engine can go on exactly here.
    pub fn stop(&self) -> Vec<Product> {
        match self {
            Self::Train { packs, .. } => packs.front().map(Pack::unsaved).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

fn packs(runs: Vec<Trainee>) -> VecDeque<Pack> {
    let mut packs = VecDeque::<Pack>::new();
    for run in runs {
        match packs.iter_mut().find(|pack| pack.made_at == run.step) {
            Some(pack) => pack.runs.push(run),
            None => packs.push_back(Pack { made_at: run.step, runs: vec![run] }),
        }
    }
    packs
}

impl Pack {
    fn step(&mut self, batch_norm: bool) -> Vec<Product> {
        self.runs.iter_mut().for_each(Trainee::step);
        let mut products: Vec<_> = self.runs.iter().flat_map(|run| run.models(batch_norm)).collect();
        if self.runs.iter().any(Trainee::is_at_checkpoint) {
            self.made_at = self.runs[0].step;
            products.extend(self.runs.iter().map(Trainee::checkpoint));
        }
        products
    }

    fn is_done(&self) -> bool {
        self.runs[0].step == STEPS
    }

    fn unsaved(&self) -> Vec<Product> {
        let moved = self.runs[0].step > self.made_at;
        self.runs.iter().filter(|_| moved).map(Trainee::checkpoint).collect()
    }
}

impl Trainee {
    fn new(job: &Job, run: &Run, resume: Option<Content>) -> Self {
        let own = key(job, run);
        let (step, state) = match resume {
            None => (0, own),
            Some(Content::Checkpoint { run: of, step, state }) => {
                assert!(
                    of == own || step == branch_step(run),
                    "invariant_a_run_resumes_from_its_own_past: {}",
                    run.name
                );
                (step, state)
            }
            Some(other) => panic!("invariant_a_run_resumes_from_a_checkpoint: {other:?}"),
        };
        assert!(step < STEPS, "invariant_what_is_trained_is_not_trained_again: {} from step {step}", run.name);
        let branches = matches!(run.goal, Goal::Swa { .. });
        assert!(!branches || step > 0, "invariant_a_run_that_branches_off_starts_where_it_does: {}", run.name);
        Self { run: run.clone(), key: own, step, state }
    }

    fn step(&mut self) {
        self.step += 1;
        self.state = mix(mix(self.state, self.key), self.step);
    }

    fn is_at_checkpoint(&self) -> bool {
        let regular = self.step.is_multiple_of(CHECKPOINT_EVERY) && self.step < STEPS;
        regular || self.branch().is_some()
    }

    fn branch(&self) -> Option<u32> {
        let at = |&point: &f64| (point * STEPS as f64) as u64 == self.step;
        self.run.branch_points.iter().position(at).map(|place| place as u32)
    }

    fn checkpoint(&self) -> Product {
        let content = Content::Checkpoint { run: self.key, step: self.step, state: self.state };
        Product::Checkpoint { run: self.run.index, step: self.step, branch: self.branch(), content }
    }

    /// The models that are there after this step: a snapshot at the end of its cycle, all else at the end of the run.
    fn models(&self, batch_norm: bool) -> Vec<Product> {
        let due = |kind: &ModelKind| match kind {
            ModelKind::Snapshot { cycle } => self.step == STEPS * u64::from(cycle + 1) / self.cycles(),
            ModelKind::Final | ModelKind::Average { .. } => self.step == STEPS,
        };
        let model = |kind| {
            let content = Content::Model { state: mix(self.state, hash(&format!("{kind:?}"))) };
            Product::Model { run: self.run.index, kind, batch_norm, content }
        };
        yields(&self.run).into_iter().filter(due).map(model).collect()
    }

    fn cycles(&self) -> u64 {
        let last = yields(&self.run).into_iter().filter_map(|kind| match kind {
            ModelKind::Snapshot { cycle } => Some(u64::from(cycle) + 1),
            _ => None,
        });
        last.max().unwrap_or(1)
    }
}

impl Product {
    pub fn content(&self) -> Content {
        match self {
            Self::Checkpoint { content, .. }
            | Self::Model { content, .. }
            | Self::Calibrated { content }
            | Self::Predictions { content, .. } => *content,
        }
    }

    /// The command that tells of it once it is stored.
    pub fn told(&self, lease: LeaseKey, artifact: Artifact) -> Command {
        match self.clone() {
            Self::Checkpoint { run, step, branch, .. } => {
                Command::CommitCheckpoint { lease, run, step, artifact, branch }
            }
            Self::Model { run, kind, batch_norm, .. } => {
                Command::CommitModel { lease, run, kind, artifact, batch_norm }
            }
            Self::Calibrated { .. } => Command::FinishCalibration { lease, artifact },
            Self::Predictions { scores, .. } => Command::FinishEvaluation { lease, predictions: artifact, scores },
        }
    }

    /// Whether telling of it is the last word on its task.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Calibrated { .. } | Self::Predictions { .. })
    }
}

/// What the coordinator makes of the models or predictions that an effect names. All of them are whole.
pub fn chore(effect: &Effect, store: &Store) -> (Option<Content>, Command) {
    let state = |artifact: &Artifact| match store.read(&artifact.digest) {
        Some(Content::Model { state } | Content::Predictions { state }) => state,
        other => panic!("invariant_only_models_and_predictions_are_combined: {other:?}"),
    };
    match effect {
        Effect::Average { job, average, models, .. } => {
            assert!(!models.is_empty(), "invariant_a_soup_has_members: average {average} of {job}");
            let mean = models.iter().map(state).fold(0, mix);
            let content = Content::Model { state: mean };
            let outcome = AverageOutcome::Averaged { artifact: content.artifact(), batch_norm: mean.is_multiple_of(2) };
            (Some(content), Command::FinishAverage { job: job.clone(), average: *average, outcome })
        }
        Effect::Combine { job, members, averages, .. } => {
            let row = |of: &ensemble::cluster::Evaluated| {
                let drawn = Some(scored(state(&of.predictions)));
                ReportRow { name: of.name.clone(), validation: of.scores.validation, test: drawn }
            };
            let all = members.iter().map(|member| state(&member.predictions)).fold(0, mix);
            let report = Report {
                members: members.iter().map(row).collect(),
                averages: averages.iter().map(row).collect(),
                ensemble: ReportRow { name: "ensemble".into(), validation: None, test: Some(scored(all)) },
                weights: vec![1.0 / members.len() as f64; members.len()],
                temperature: unit(all) + 0.5,
                disagreement: None,
                lost: Vec::new(),
            };
            let outcome = ReportOutcome::Done { report: Box::new(report) };
            (None, Command::FinishReport { job: job.clone(), outcome })
        }
        other => panic!("{other:?} is no chore"),
    }
}

/// What stands for a run: all that it depends on.
fn key(job: &Job, run: &Run) -> u64 {
    mix(hash(&format!("{:?}", job.data)), hash(&run.to_json()))
}

fn has_batch_norm(job: &Job) -> bool {
    job.model.architecture != Architecture::Cnn
}

fn weights(content: Content) -> u64 {
    match content {
        Content::Model { state } => state,
        other => panic!("invariant_only_models_are_evaluated: {other:?}"),
    }
}

/// The step at which a run leaves another.
fn branch_step(run: &Run) -> u64 {
    match run.goal {
        Goal::Swa { start, .. } => (start * STEPS as f64) as u64,
        Goal::Final | Goal::Snapshots { .. } => 0,
    }
}

fn scores(state: u64, held_out: bool) -> EvaluationScores {
    let part = |part| Some(scored(mix(state, part)));
    EvaluationScores { validation: part(1), test: part(2), held_out: held_out.then(|| scored(mix(state, 3))) }
}

fn scored(state: u64) -> Scores {
    let nll = unit(state);
    Scores { accuracy: 1.0 - nll / 10.0, nll, brier: 0.1, ece: 0.01, samples: 100 }
}

/// A number from 0 to 1 that survives being written in decimals.
fn unit(state: u64) -> f64 {
    (state % 1_000_000) as f64 / 1e6
}
