//! What the training of a pack brings: checkpoints and models.

use super::super::{Millis, Rejection};
use super::{Branch, Checkpoint, Followup, JobState, ModelState, Stored, TaskKind, TaskState, TrainRun};
use crate::expand::{ModelRef, yields};
use crate::run::{Artifact, ModelKind};

/// Checkpoints that a run which is trained can be set back to, at least. Two, because a pack that lost its worker between
/// two commits goes on from the last but one, and so does a run whose newest is damaged.
const RESUMABLE: u32 = 2;

impl JobState {
    /// Takes a checkpoint of a run. What branches off where it stands becomes ready.
    pub fn commit_checkpoint(
        &mut self,
        run: u32,
        checkpoint: Checkpoint,
        branch: Option<u32>,
        followup: &mut Followup,
    ) -> Result<(), Rejection> {
        let repeated = self.has_checkpoint(run, &checkpoint.artifact);
        let left = branch.is_some_and(|branch| self.is_left(run, branch));
        let state = self.runs.get_mut(&run).ok_or_else(|| no_part(run))?;
        if let Some(branch) = branch {
            let points = state.branches.len();
            let unknown =
                || Rejection::Unexpected(format!("run {run} has {points} branch points, and no number {branch}"));
            let branch = state.branches.get_mut(branch as usize).ok_or_else(unknown)?;
            if branch.start().is_none() && !left {
                branch.checkpoint = Some(checkpoint.clone());
                branch.step = Some(checkpoint.step);
            }
            followup.ready.append(&mut branch.tasks);
        }
        if !repeated {
            let kept = self.job.keep.checkpoints.unwrap_or(0).max(RESUMABLE) as usize;
            state.commit(checkpoint, kept);
        }
        self.release_if_trained(run);
        for &task in &followup.ready {
            self.tasks[task as usize].state = TaskState::Ready;
        }
        Ok(())
    }

    /// Whether all that leaves a run at a branch point is trained, so that nobody starts there any more.
    fn is_left(&self, run: u32, branch: u32) -> bool {
        let branch = self.runs.get(&run).and_then(|state| state.branches.get(branch as usize));
        branch.is_some_and(|branch| {
            branch.checkpoint.is_some() && branch.leaving.iter().all(|&run| self.is_run_trained(run))
        })
    }

    /// Takes a model of a run. A run that was set back yields models again; the first of each stays, because what was
    /// learnt about it stands.
    pub fn commit_model(
        &mut self,
        source: ModelRef,
        stored: Stored,
        batch_norm: bool,
        followup: &mut Followup,
    ) -> Result<(), Rejection> {
        let ModelRef { run, kind } = source;
        let unknown = || Rejection::Unexpected(format!("run {run} yields no {}", told(kind)));
        let &model = self.model_of.get(&source).ok_or_else(unknown)?;
        if matches!(self.models[model as usize].state, ModelState::Planned) {
            let calibrate = batch_norm && matches!(kind, ModelKind::Average { .. });
            self.store(model, stored, calibrate, followup);
        }
        self.release_if_trained(run);
        Ok(())
    }

    /// Whether this very checkpoint or model is known of the run.
    pub fn has_checkpoint(&self, run: u32, artifact: &Artifact) -> bool {
        let Some(state) = self.runs.get(&run) else { return false };
        let branches = state.branches.iter().filter_map(|branch| branch.checkpoint.as_ref());
        state.checkpoints.iter().chain(branches).any(|checkpoint| checkpoint.artifact == *artifact)
    }

    /// Whether this very model is known of the run, as it was committed.
    pub fn has_model(&self, source: ModelRef, artifact: &Artifact) -> bool {
        let Some(&model) = self.model_of.get(&source) else { return false };
        let model = &self.models[model as usize];
        model.raw.as_ref().or(model.state.stored()).is_some_and(|stored| stored.artifact == *artifact)
    }

    /// Whether a task is a training that has brought everything.
    pub fn is_trained(&self, task: u32) -> bool {
        self.tasks[task as usize].is_training() && self.missing_from(task).is_none()
    }

    /// What a pack has not brought yet, in words; none when it is trained.
    pub fn missing_from(&self, task: u32) -> Option<String> {
        let TaskKind::Train { runs } = &self.tasks[task as usize].kind else { return None };
        runs.iter().find_map(|&run| self.missing_from_run(run))
    }

    /// Whether a run has brought everything.
    pub fn is_run_trained(&self, run: u32) -> bool {
        self.missing_from_run(run).is_none()
    }

    fn missing_from_run(&self, run: u32) -> Option<String> {
        let state = &self.runs[&run];
        let name = &state.run.name;
        if let Some(kind) = yields(&state.run).into_iter().find(|&kind| self.is_planned(ModelRef { run, kind })) {
            return Some(format!("the training of `{name}` ended without its {}", told(kind)));
        }
        let awaited = |branch: &Branch| branch.leaving.iter().any(|&run| !self.is_run_trained(run));
        let open = state.branches.iter().any(|branch| branch.start().is_none() && awaited(branch));
        open.then(|| format!("the training of `{name}` ended without the checkpoint at which another run leaves it"))
    }

    fn is_planned(&self, model: ModelRef) -> bool {
        matches!(self.models[self.model_of[&model] as usize].state, ModelState::Planned)
    }

    /// The runs of a pack that are not trained yet, each with the checkpoint that it goes on from.
    ///
    /// A pack trains in step, so all go on from the same step: the newest that all of them have. They commit one after
    /// the other, and a worker lost in between leaves them a checkpoint apart. If there is none, because one was damaged,
    /// each goes on from its own newest, and the engine trains apart what is not in step.
    pub(super) fn train_runs(&self, runs: &[u32]) -> Vec<TrainRun> {
        let left: Vec<_> = runs.iter().copied().filter(|&run| !self.is_run_trained(run)).collect();
        let step = self.common_step(&left);
        let start = |&run: &u32| TrainRun { run: self.runs[&run].run.clone(), resume: self.resume(run, step) };
        left.iter().map(start).collect()
    }

    fn common_step(&self, runs: &[u32]) -> Option<u64> {
        let first = self.runs.get(runs.first()?)?;
        let has = |run: &u32, step| self.runs[run].resumable().any(|checkpoint| checkpoint.step == step);
        first.resumable().map(|checkpoint| checkpoint.step).find(|&step| runs.iter().all(|run| has(run, step)))
    }

    fn resume(&self, run: u32, step: Option<u64>) -> Option<Artifact> {
        let state = &self.runs[&run];
        let own = state.resumable().find(|checkpoint| step.is_none_or(|step| checkpoint.step == step));
        let branch = || {
            let (parent, start) = state.origin()?;
            self.runs[&parent].branch_checkpoint(start)
        };
        own.or_else(branch).map(|checkpoint| checkpoint.artifact.clone())
    }
}

fn told(kind: ModelKind) -> String {
    match kind {
        ModelKind::Final => "final model".to_owned(),
        ModelKind::Snapshot { cycle } => format!("snapshot of cycle {cycle}"),
        ModelKind::Average { index } => format!("average {index}"),
    }
}

pub(in super::super) fn no_part(run: u32) -> Rejection {
    Rejection::Unexpected(format!("run {run} is no part of the task"))
}

/// A checkpoint committed now.
impl Checkpoint {
    pub fn new(step: u64, artifact: Artifact, committed: Millis) -> Self {
        Self { step, artifact, committed, released: false }
    }
}
