//! A pack of runs, ready to go on from where each of them stands.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use ensemble::job::{Job, Train};
use ensemble::run::{Goal, Run};
use ensemble::schedule::Schedule;
use tch::Device;

use super::averages::Averages;
use super::writer::Writer;
use crate::checkpoint::{Best, Checkpoint};
use crate::data::{Data, Normalization, Selection, TrainingBatches};
use crate::error::TaskError;
use crate::nn::Network;
use crate::optimizer::Optimizer;
use crate::random::RandomStreams;
use crate::scoring::Score;
use crate::session::TrainTask;

/// A run, its samples, and the state that it goes on from.
pub(super) struct Start {
    run: Run,
    selection: Selection,
    checkpoint: Option<Checkpoint>,
}

impl Start {
    pub(super) fn read(job: &Job, data: &Data, (run, resume): &(Run, Option<PathBuf>)) -> Result<Self, TaskError> {
        let checkpoint = resume.as_ref().map(|path| Checkpoint::read(path, run)).transpose()?;
        if checkpoint.is_none() && matches!(run.goal, Goal::Swa { .. }) {
            let message =
                format!("run `{}` averages along another run, but has no checkpoint of it to start from", run.name);
            return Err(TaskError::Job(message));
        }
        let selection = Selection::new(job, run.samples, &data.train.host_labels);
        Ok(Self { run: run.clone(), selection, checkpoint })
    }

    /// Runs go side by side only in step with one another, and so with batches of the same sizes.
    fn pace(&self) -> Pace {
        let state = self.checkpoint.as_ref();
        Pace {
            step: state.map_or(0, |state| state.step),
            swa_count: state.map_or(0, |state| state.swa_count),
            had_ended: state.is_some_and(|state| state.is_done),
            samples: self.selection.training.len(),
        }
    }
}

/// What the runs of a pack must have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pace {
    step: u64,
    swa_count: u64,
    had_ended: bool,
    samples: usize,
}

/// The runs of a task in packs that are in step. More than one only where folds differ by a sample, or where the
/// checkpoints of a pack that was interrupted are of different ages.
pub(super) fn groups(starts: Vec<Start>) -> Vec<Vec<Start>> {
    let mut groups: Vec<Vec<Start>> = Vec::new();
    for start in starts {
        match groups.iter_mut().find(|group| group[0].pace() == start.pace()) {
            Some(group) => group.push(start),
            None => groups.push(vec![start]),
        }
    }
    groups
}

/// One run of a pack.
pub(super) struct Member {
    pub(super) run: Run,
    pub(super) schedule: Schedule,
    pub(super) selection: Selection,
    pub(super) normalization: Normalization,
    /// The newest score on what the run is scored on.
    pub(super) score: Option<Score>,
    /// The best weights so far, if the run may stop early.
    pub(super) best: Option<Best>,
    /// Its models are written; the pack goes on without it.
    pub(super) is_done: bool,
}

/// M runs training side by side.
pub(super) struct Pack {
    pub(super) job: Job,
    pub(super) scratch: PathBuf,
    pub(super) data: Rc<Data>,
    pub(super) network: Network,
    pub(super) optimizer: Optimizer,
    pub(super) averages: Averages,
    pub(super) batches: TrainingBatches,
    pub(super) members: Vec<Member>,
    /// Steps done.
    pub(super) step: u64,
    /// Whether the runs had ended before: only their models are to be written again.
    had_ended: bool,
    /// When checkpoints were written last, and at which step.
    pub(super) checkpointed: (Instant, u64),
    pub(super) writer: Writer,
}

impl Pack {
    pub(super) fn new(task: &TrainTask, data: Rc<Data>, starts: Vec<Start>, device: Device) -> Result<Self, TaskError> {
        let members = starts.iter().map(|start| Member::new(&data, start)).collect::<Result<Vec<_>, _>>()?;
        check_compatible(&members)?;
        let Pace { step, had_ended, .. } = starts[0].pace();
        let run = &members[0].run;
        let seeds: Vec<u64> = members.iter().map(|member| member.run.seed).collect();
        let dropout = run.train.regularize.dropout;
        let network = Network::new(&run.model, data.shape, data.classes, dropout, &seeds, device, run.train.precision)?;
        let decay_all = run.train.regularize.decay_biases_and_norms;
        let mut pack = Self {
            job: task.job.clone(),
            scratch: task.scratch.clone(),
            optimizer: Optimizer::new(&run.train.optimizer, decay_all, network.arena())?,
            averages: Averages::new(members.iter().map(|member| &member.run)),
            batches: batches(&members, &seeds),
            step,
            had_ended,
            checkpointed: (Instant::now(), step),
            writer: Writer::default(),
            data,
            network,
            members,
        };
        pack.take_up(starts)?;
        Ok(pack)
    }

    /// Puts each run back to where its checkpoint stands; averages of fresh runs begin with the first weights.
    fn take_up(&mut self, starts: Vec<Start>) -> Result<(), TaskError> {
        let mut checkpoints: Vec<_> = starts.into_iter().map(|start| start.checkpoint).collect();
        for (place, state) in checkpoints.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            self.network.arena_mut().load_state_of(place, &state.model)?;
            self.optimizer.load_state_of(self.network.arena(), place, &state.optimizer, state.step)?;
            self.members[place].best = state.best.take();
            self.members[place].score = self.members[place].best.as_ref().map(|best| best.score);
        }
        self.averages.begin(&self.network, &checkpoints)
    }

    /// What begins, for people.
    pub(super) fn start_line(&self) -> String {
        let names: Vec<&str> = self.members.iter().map(|member| member.run.name.as_str()).collect();
        let samples = self.members[0].selection.training.len();
        let parameters = self.network.arena().layout().parameters_per_member();
        let (names, from, steps) = (names.join(", "), self.step, self.steps());
        format!("{names}: {parameters} parameters, {samples} training samples, {steps} steps, from step {from}")
    }

    /// The recipe that all runs share, but for the learning rate.
    pub(super) fn recipe(&self) -> &Train {
        &self.members[0].run.train
    }

    /// Steps of the whole run, the same for all.
    pub(super) fn steps(&self) -> u64 {
        self.members[0].schedule.steps()
    }

    /// Whether no run goes on.
    pub(super) fn is_done(&self) -> bool {
        self.had_ended || self.step >= self.steps() || self.members.iter().all(|member| member.is_done)
    }

    /// Whether the last step was an epoch's last.
    pub(super) fn is_epoch_end(&self) -> bool {
        self.step.is_multiple_of(self.batches.per_epoch())
    }

    /// The learning rate of each run for the next step. A run that has ended stands still.
    pub(super) fn rates(&self) -> Vec<f64> {
        let rate = |member: &Member| if member.is_done { 0.0 } else { member.schedule.at(self.step) };
        self.members.iter().map(rate).collect()
    }
}

impl Member {
    fn new(data: &Data, start: &Start) -> Result<Self, TaskError> {
        let (run, selection) = (start.run.clone(), start.selection.clone());
        if selection.training.is_empty() {
            return Err(TaskError::Job(format!("run `{}` has no training sample; lower `data.validation`", run.name)));
        }
        if run.train.early_stopping.is_some() && run.goal == Goal::Final && selection.scored().is_empty() {
            let message = "`train.early_stopping` needs samples to score on; set `data.validation` above 0";
            return Err(TaskError::Job(message.to_owned()));
        }
        let normalization = data.normalization(&selection.training)?;
        let steps_per_epoch = (selection.training.len() as u64).div_ceil(run.train.batch_size.into());
        let schedule = Schedule::new(&run.train, steps_per_epoch);
        Ok(Self { run, schedule, selection, normalization, score: None, best: None, is_done: false })
    }
}

fn batches(members: &[Member], seeds: &[u64]) -> TrainingBatches {
    let samples = members.iter().map(|member| member.selection.training.clone()).collect();
    let normalizations = members.iter().map(|member| member.normalization.clone()).collect();
    let recipe = &members[0].run.train;
    TrainingBatches::new(samples, normalizations, &recipe.augment, RandomStreams::new(seeds), recipe.batch_size)
}

/// Members of a pack share one program: everything but seed, learning rate and the choice of samples must be equal.
fn check_compatible(members: &[Member]) -> Result<(), TaskError> {
    for other in &members[1..] {
        if let Some(what) = difference(&members[0], other) {
            let (first, other) = (members[0].run.name.clone(), other.run.name.clone());
            return Err(TaskError::Pack { first, other, what });
        }
    }
    Ok(())
}

fn difference(a: &Member, b: &Member) -> Option<&'static str> {
    let (one, two) = (&a.run.train, &b.run.train);
    let comparisons = [
        (a.run.model == b.run.model, "models"),
        (one.epochs == two.epochs, "epochs"),
        (one.batch_size == two.batch_size, "batch sizes"),
        (one.precision == two.precision, "precisions"),
        (one.optimizer == two.optimizer, "optimizers"),
        (one.regularize == two.regularize, "regularizations"),
        (one.augment == two.augment, "augmentations"),
    ];
    comparisons.into_iter().find(|(is_equal, _)| !is_equal).map(|(_, what)| what)
}
