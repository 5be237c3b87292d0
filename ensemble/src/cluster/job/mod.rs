//! One job: its runs, models, members and tasks, and what follows when one of them moves on.
//!
//! Nothing here knows workers. A step of a job says in its [`Followup`] what the cluster must carry out.

mod contest;
mod keep;
mod loss;
mod model;
mod repair;
mod run;
mod training;
mod views;

pub(super) use contest::ContestState;
pub(super) use model::{Calibration, Lost, Model, ModelSource, ModelState, Soup, Stored};
pub(super) use run::{Branch, Checkpoint, RunState};
pub(super) use training::no_part;

use super::task::{Success, Task, TaskKind, TaskState};
use super::{Effect, Evaluated, Millis, TrainRun, Work};
use crate::expand::{AverageSource, MemberSource, ModelRef, Plan, yields};
use crate::id::{JobId, TaskId};
use crate::job::{Combination, Job};
use crate::report::Report;
use crate::run::Run;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct JobState {
    pub id: JobId,
    pub job: Box<Job>,
    pub submitted: Millis,
    pub phase: JobPhase,
    /// By index. Winners' runs come late, so indexes may have gaps.
    pub runs: BTreeMap<u32, RunState>,
    /// Everything that is evaluated. Places in this list do not change.
    pub models: Vec<Model>,
    /// By what they are models of. Not written down: [`JobState::index_models`] finds it again.
    #[serde(skip)]
    pub model_of: BTreeMap<ModelRef, u32>,
    pub members: Vec<Member>,
    /// The models of the averages, in the job file's order.
    pub averages: Vec<u32>,
    pub contests: Vec<ContestState>,
    pub tasks: Vec<Task>,
    /// What went wrong last and is tried again, until something goes right; after the end, why it stays so.
    pub trouble: Option<String>,
    open: Open,
}

/// Where a job stands.
///
/// ```text
///   Running ── all is evaluated ──▶ Combining ── report ──▶ Done
///      └──────────────┬─────────────────┘
///                     ├─▶ Failed
///                     └─▶ Cancelled
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum JobPhase {
    /// Tasks are waiting or at work.
    Running,
    /// The coordinator combines the members' predictions.
    Combining,
    /// There is a report.
    Done(Finished),
    /// It cannot succeed.
    Failed(Failed),
    /// Its user wanted no more of it.
    Cancelled(Cancelled),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub report: Box<Report>,
    pub ended: Millis,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub message: String,
    /// The task whose failure it was.
    #[serde(default)]
    pub task: Option<u32>,
    pub ended: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cancelled {
    pub ended: Millis,
}

/// A place in the ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Member {
    pub name: String,
    /// The model that has the place; none while a contest is undecided.
    pub model: Option<u32>,
    /// The soups that take this member in, by their models.
    pub soups: Vec<u32>,
    /// Why the ensemble must do without, if it must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// What a job still waits for. When all is zero it can be combined, so nobody has to look through its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Open {
    tasks: usize,
    models: usize,
    contests: usize,
}

/// What follows from a step of a job.
#[derive(Debug, Default)]
pub(super) struct Followup {
    /// Tasks that became ready.
    pub ready: Vec<u32>,
    /// Tasks that are to be set back, wherever they are: what they start from or what they brought is gone.
    pub recalled: BTreeSet<u32>,
    pub effects: Vec<Effect>,
    /// Why the job cannot succeed.
    pub hopeless: Option<Hopeless>,
}

#[derive(Debug)]
pub(super) struct Hopeless {
    pub message: String,
    /// The task whose failure it was.
    pub task: Option<u32>,
}

impl JobPhase {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// When the job ended.
    pub fn ended(&self) -> Option<Millis> {
        match self {
            Self::Running | Self::Combining => None,
            Self::Done(Finished { ended, .. })
            | Self::Failed(Failed { ended, .. })
            | Self::Cancelled(Cancelled { ended }) => Some(*ended),
        }
    }
}

impl JobState {
    pub fn new(now: Millis, id: JobId, job: Box<Job>, plan: Plan) -> (Self, Followup) {
        let mut state = Self {
            id,
            job,
            submitted: now,
            phase: JobPhase::Running,
            runs: BTreeMap::new(),
            models: Vec::new(),
            model_of: BTreeMap::new(),
            members: Vec::new(),
            averages: Vec::new(),
            contests: Vec::new(),
            tasks: Vec::new(),
            trouble: None,
            open: Open { contests: plan.contests.len(), ..Open::default() },
        };
        let mut followup = Followup::default();
        state.contests = plan.contests.into_iter().map(ContestState::new).collect();
        state.add_runs(plan.runs);
        for member in plan.members {
            state.add_member(member.name, member.source);
        }
        for average in plan.averages {
            state.add_average(average.name, average.source);
        }
        for pack in plan.packs {
            state.add_training(pack, &mut followup);
        }
        (state, followup)
    }

    /// Finds what is not written down with the rest of the state.
    pub fn index_models(&mut self) {
        let source = |(index, model): (usize, &Model)| match model.source {
            ModelSource::Run(source) => Some((source, index as u32)),
            ModelSource::Soup(_) => None,
        };
        self.model_of = self.models.iter().enumerate().filter_map(source).collect();
    }

    pub fn task_id(&self, task: u32) -> TaskId {
        self.tasks[task as usize].kind.id(&self.id, task)
    }

    /// All that a worker needs to know for a task.
    pub fn work(&self, task: u32) -> Work {
        let job = self.job.clone();
        match &self.tasks[task as usize].kind {
            TaskKind::Train { runs } => Work::Train { job, runs: self.train_runs(runs) },
            TaskKind::Calibrate { model } => {
                let ModelState::Calibrating(Calibration { raw }) = &self.models[*model as usize].state else {
                    unreachable!("a calibrate task is open as long as its model is calibrating");
                };
                Work::Calibrate { job, run: self.run_behind(*model), model: raw.artifact.clone() }
            }
            TaskKind::Evaluate { model } => {
                let stored = self.models[*model as usize].state.stored().expect("what is evaluated is stored");
                Work::Evaluate { job, run: self.run_behind(*model), model: stored.artifact.clone() }
            }
        }
    }

    /// Marks a task as done.
    pub fn finish(&mut self, task: u32, success: Success) {
        self.tasks[task as usize].state = TaskState::Done(success);
        self.trouble.take_if(|_| !self.phase.is_done());
        self.open.tasks -= 1;
    }

    /// Goes on to combining once nothing is open any more, and back if something is open again.
    pub fn advance(&mut self, followup: &mut Followup) {
        let Open { tasks, models, contests } = self.open;
        match (&self.phase, tasks + models + contests) {
            (JobPhase::Running, 0) => {
                self.phase = JobPhase::Combining;
                followup.effects.push(self.combine());
            }
            (JobPhase::Combining, 1..) => self.phase = JobPhase::Running,
            _ => {}
        }
    }

    /// What the coordinator is asked to do when all is evaluated.
    pub fn combine(&self) -> Effect {
        let left = || self.members.iter().filter(|member| member.lost.is_none());
        let members = left().filter_map(|member| self.evaluated(&member.name, member.model?));
        let weights = self.job.ensemble.weights.as_ref().map(|weights| {
            let all = self.members.iter().zip(weights);
            all.filter(|(member, _)| member.lost.is_none()).map(|(_, weight)| *weight).collect()
        });
        let averages =
            self.averages.iter().filter_map(|&model| self.evaluated(&self.models[model as usize].name, model));
        Effect::Combine {
            job: self.id.clone(),
            combination: Combination { weights, ..self.job.ensemble.clone() },
            members: members.collect(),
            averages: averages.collect(),
        }
    }

    pub fn evaluations_open(&self) -> usize {
        let open = |task: &&Task| matches!(task.state, TaskState::Ready | TaskState::Paused(_) | TaskState::Leased(_));
        self.tasks.iter().filter(|task| !task.is_training()).filter(open).count()
    }

    fn evaluated(&self, name: &str, model: u32) -> Option<Evaluated> {
        let evaluation = self.models[model as usize].state.evaluation()?;
        let predictions = evaluation.predictions.clone();
        Some(Evaluated { name: name.to_owned(), predictions, scores: evaluation.scores.clone() })
    }

    /// The run whose samples and network a model has. A soup has those of its first member.
    fn run_behind(&self, model: u32) -> Box<Run> {
        let run = match &self.models[model as usize].source {
            ModelSource::Run(source) => source.run,
            ModelSource::Soup(soup) => {
                let first = self.members[soup.members[0] as usize].model.expect("a soup's members are there before it");
                return self.run_behind(first);
            }
        };
        Box::new(self.runs[&run].run.clone())
    }

    fn add_runs(&mut self, runs: Vec<Run>) {
        for run in runs {
            for kind in yields(&run) {
                self.add_model(ModelRef { run: run.index, kind }, run.name.clone());
            }
            self.runs.insert(run.index, RunState::new(run));
        }
    }

    fn add_model(&mut self, source: ModelRef, name: String) {
        let contest = self.contests.iter().position(|state| state.contest.has(source.run));
        self.model_of.insert(source, self.models.len() as u32);
        self.models.push(Model::new(name, ModelSource::Run(source), contest.map(|contest| contest as u32)));
        self.open.models += 1;
    }

    fn add_member(&mut self, name: String, source: MemberSource) {
        let index = self.members.len() as u32;
        let model = match source {
            MemberSource::Model(model) => Some(self.model_of[&model]),
            MemberSource::Winner { contest, .. } => {
                self.contests[contest as usize].places.push(index);
                None
            }
        };
        if let Some(model) = model {
            self.models[model as usize].members.push(index);
        }
        self.members.push(Member { name, model, soups: Vec::new(), lost: None });
    }

    fn add_average(&mut self, name: String, source: AverageSource) {
        match source {
            AverageSource::Run(model) => {
                let model = self.model_of[&model];
                self.models[model as usize].name = name;
                self.averages.push(model);
            }
            AverageSource::Soup { members } => {
                let model = self.models.len() as u32;
                members.iter().for_each(|&member| self.members[member as usize].soups.push(model));
                let soup = Soup { average: self.averages.len() as u32, missing: members.len(), members };
                self.models.push(Model::new(name, ModelSource::Soup(soup), None));
                self.averages.push(model);
                self.open.models += 1;
            }
        }
    }

    /// Adds the task that trains a pack. What branches off a run waits for it.
    fn add_training(&mut self, runs: Vec<u32>, followup: &mut Followup) {
        let task = self.tasks.len() as u32;
        for index in &runs {
            self.runs.get_mut(index).expect("packs are made of the job's runs").task = task;
        }
        // A run that branches off is alone in its pack.
        let run = runs[0];
        let origin = self.runs[&run].origin();
        self.add_task(TaskKind::Train { runs }, origin.is_some(), followup);
        if let Some((parent, start)) = origin {
            let parent = self.runs.get_mut(&parent).expect("a run branches off one of its job");
            let branch = parent.branch_at(start);
            branch.leaving.push(run);
            branch.tasks.push(task);
        }
    }

    fn add_task(&mut self, kind: TaskKind, blocked: bool, followup: &mut Followup) -> u32 {
        let task = self.tasks.len() as u32;
        let state = if blocked { TaskState::Blocked } else { TaskState::Ready };
        if !blocked {
            followup.ready.push(task);
        }
        self.tasks.push(Task::new(kind, state));
        self.open.tasks += 1;
        task
    }

    /// Makes a task ready that can start now: the one that there is already, or else a new one.
    fn renew_task(&mut self, task: Option<u32>, kind: TaskKind, followup: &mut Followup) -> u32 {
        let Some(task) = task else { return self.add_task(kind, false, followup) };
        let state = std::mem::replace(&mut self.tasks[task as usize].state, TaskState::Ready);
        let over = matches!(state, TaskState::Done(_) | TaskState::Failed | TaskState::Withdrawn);
        self.open.tasks += usize::from(over);
        followup.ready.push(task);
        task
    }
}
