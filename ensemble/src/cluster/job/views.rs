//! What a job shows of itself.

use super::super::Effect;
use super::super::task::{Task, TaskState as State};
use super::{Checkpoint, JobPhase, JobState, Member, Model, ModelSource, ModelState, RunState as Run, Stored};
use crate::expand::{ModelRef, yields};
use crate::metrics::Scores;
use crate::run::ModelKind;
use crate::view::{
    AverageView, CheckpointKind, CheckpointView, JobView, MemberState, MemberView, Phase, RunState, RunView, TaskState,
    TaskView,
};
use std::collections::BTreeSet;

impl JobState {
    pub fn view(&self) -> JobView {
        let phase = match &self.phase {
            JobPhase::Running | JobPhase::Combining => Phase::Running,
            JobPhase::Done(_) => Phase::Done,
            JobPhase::Failed(_) => Phase::Failed,
            JobPhase::Cancelled(_) => Phase::Cancelled,
        };
        let ready = |member: &&Member| {
            let model = member.model.map(|model| &self.models[model as usize]);
            model.is_some_and(|model| model.scores().is_some() && !model.is_lost())
        };
        JobView {
            id: self.id.clone(),
            name: self.job.name.clone(),
            namespace: self.job.namespace.clone(),
            priority: self.job.priority,
            phase,
            detail: String::new(),
            failed_task: self.failed_task(),
            members_ready: self.members.iter().filter(ready).count() as u32,
            members_total: self.members.len() as u32,
            members_lost: self.members_lost() as u32,
            submitted_ms: self.submitted,
            ended_ms: self.phase.ended(),
            served: self.job.serve.is_some(),
        }
    }

    /// A member, with its model if that is one of those that are kept.
    pub fn member_view(&self, index: usize, kept: &BTreeSet<u32>) -> MemberView {
        let member = &self.members[index];
        let model = member.model.map(|model| &self.models[model as usize]);
        let seed = model.and_then(|model| Some(self.runs[&model.run()?].run.seed));
        let (validation, test) = model.map_or((None, None), Model::scores_shown);
        let stored = member.model.and_then(|model| self.shown(model, kept));
        MemberView {
            index: index as u32,
            name: member.name.clone(),
            seed,
            state: match (&member.lost, model) {
                (Some(_), _) => MemberState::Lost,
                (None, model) => model.map_or(MemberState::Planned, |model| self.model_state(model)),
            },
            lost: member.lost.clone(),
            digest: stored.map(|stored| stored.artifact.digest.clone()),
            bytes: stored.map(|stored| stored.artifact.bytes),
            validation,
            test,
        }
    }

    /// An average, with its model if that is one of those that are kept.
    pub fn average_view(&self, index: usize, kept: &BTreeSet<u32>) -> AverageView {
        let model = &self.models[self.averages[index] as usize];
        let (validation, test) = model.scores_shown();
        let stored = self.shown(self.averages[index], kept);
        AverageView {
            index: index as u32,
            name: model.name.clone(),
            state: self.model_state(model),
            digest: stored.map(|stored| stored.artifact.digest.clone()),
            bytes: stored.map(|stored| stored.artifact.bytes),
            validation,
            test,
        }
    }

    /// A model in the store. Of one that is not kept nobody knows how long it will be there.
    fn shown(&self, model: u32, kept: &BTreeSet<u32>) -> Option<&Stored> {
        self.models[model as usize].state.stored().filter(|_| kept.contains(&model))
    }

    fn model_state(&self, model: &Model) -> MemberState {
        match &model.state {
            ModelState::Planned => match model.run() {
                Some(run) if self.tasks[self.runs[&run].task as usize].lease().is_some() => MemberState::Training,
                _ => MemberState::Planned,
            },
            ModelState::Averaging => MemberState::Training,
            ModelState::Calibrating(_) | ModelState::Stored(_) => MemberState::Trained,
            ModelState::Evaluated(_) => MemberState::Evaluated,
            ModelState::Lost(_) => MemberState::Lost,
        }
    }

    pub fn run_view(&self, run: &Run) -> RunView {
        let task = &self.tasks[run.task as usize];
        let trained = self.is_run_trained(run.run.index);
        let state = match &task.state {
            _ if self.is_run_lost(run) => RunState::Failed,
            _ if trained => RunState::Done,
            State::Done(_) => RunState::Done,
            State::Leased(_) => RunState::Training,
            State::Failed | State::Withdrawn => RunState::Failed,
            State::Blocked | State::Ready | State::Paused(_) => RunState::Waiting,
        };
        RunView {
            index: run.run.index,
            run: run.run.name.clone(),
            task: self.task_id(run.task),
            state,
            worker: task.lease().map(|lease| lease.worker.clone()),
            attempt: task.attempts,
        }
    }

    pub fn task_view(&self, task: u32) -> TaskView {
        let Task { state, attempts, faults, .. } = &self.tasks[task as usize];
        let at = self.tasks[task as usize].lease().map(|lease| (lease.worker.clone(), lease.slot));
        let state = match state {
            State::Blocked => TaskState::Blocked,
            State::Ready => TaskState::Ready,
            State::Paused(_) => TaskState::Paused,
            State::Leased(_) => TaskState::Leased,
            State::Done(_) => TaskState::Done,
            State::Failed => TaskState::Failed,
            State::Withdrawn => TaskState::Withdrawn,
        };
        let (failures, losses) = (faults.memory + faults.engine, faults.infrastructure);
        TaskView { id: self.task_id(task), state, at, attempt: *attempts, failures, losses }
    }

    pub fn checkpoint_views(&self) -> Vec<CheckpointView> {
        let checkpoints = self.runs.values().flat_map(|run| self.training_states(run));
        checkpoints.chain(self.models.iter().filter_map(Model::stored_view)).collect()
    }

    /// The checkpoints of a run, and whether each is needed no more: a trained run goes on from none, any other from its
    /// newest, and from a branch point until all that leaves it there is trained.
    fn training_states(&self, run: &Run) -> Vec<CheckpointView> {
        let trained = self.is_run_trained(run.run.index);
        let newest = run.checkpoints.back();
        let branches = run.branches.iter().filter_map(|branch| branch.checkpoint.as_ref());
        let listed = |checkpoint: &Checkpoint| !branches.clone().any(|branch| branch.artifact == checkpoint.artifact);
        let own = run.checkpoints.iter().filter(|checkpoint| listed(checkpoint));
        let own = own.map(|checkpoint| (checkpoint, trained || Some(checkpoint) != newest));
        let branch = branches.clone().map(|checkpoint| (checkpoint, false));
        let view = |(checkpoint, superseded): (&Checkpoint, bool)| CheckpointView {
            run: run.run.name.clone(),
            kind: CheckpointKind::Checkpoint,
            step: Some(checkpoint.step),
            digest: checkpoint.artifact.digest.clone(),
            bytes: checkpoint.artifact.bytes,
            committed_ms: checkpoint.committed,
            superseded,
        };
        own.chain(branch).map(view).collect()
    }

    /// Whether a task is on its way, or the coordinator at an average.
    pub fn is_busy(&self) -> bool {
        let over = |task: &Task| matches!(task.state, State::Done(_) | State::Failed | State::Withdrawn);
        let averaging = |model: &Model| matches!(model.state, ModelState::Averaging);
        !self.tasks.iter().all(over) || self.models.iter().any(averaging)
    }

    fn is_run_lost(&self, run: &Run) -> bool {
        let mut models = yields(&run.run).into_iter().map(|kind| ModelRef { run: run.run.index, kind });
        models.any(|model| self.models[self.model_of[&model] as usize].is_lost())
    }

    /// Whether the coordinator is asked for an average again, though the job is done.
    pub fn awaits_average(&self, average: u32) -> bool {
        let model = self.averages.get(average as usize).map(|&model| &self.models[model as usize]);
        self.phase.is_done() && model.is_some_and(|model| matches!(model.state, ModelState::Averaging))
    }

    pub fn outstanding(&self) -> Vec<Effect> {
        let averaging = |&model: &u32| matches!(self.models[model as usize].state, ModelState::Averaging);
        let averages = self.averages.iter().copied().filter(averaging).filter_map(|model| self.averaging(model));
        let combine = matches!(self.phase, JobPhase::Combining).then(|| self.combine());
        averages.chain(combine).collect()
    }
}

impl Model {
    fn run(&self) -> Option<u32> {
        match &self.source {
            ModelSource::Run(source) => Some(source.run),
            ModelSource::Soup(_) => None,
        }
    }

    fn scores_shown(&self) -> (Option<Scores>, Option<Scores>) {
        let scores = self.scores();
        (scores.and_then(|scores| scores.validation), scores.and_then(|scores| scores.test))
    }

    fn stored_view(&self) -> Option<CheckpointView> {
        let stored = self.state.stored()?;
        let kind = match &self.source {
            ModelSource::Run(source) => match source.kind {
                ModelKind::Final => CheckpointKind::Final,
                ModelKind::Snapshot { .. } => CheckpointKind::Snapshot,
                ModelKind::Average { .. } => CheckpointKind::Average,
            },
            ModelSource::Soup(_) => CheckpointKind::Average,
        };
        Some(CheckpointView {
            run: self.name.clone(),
            kind,
            step: None,
            digest: stored.artifact.digest.clone(),
            bytes: stored.artifact.bytes,
            committed_ms: stored.committed,
            superseded: false,
        })
    }
}
