//! What becomes of an artifact that is damaged in the store, or gone from it.
//!
//! A checkpoint is forgotten, and its run goes on from the one before. What made a model or predictions is done again, and
//! what starts from them waits; what was learned about a model stands, and is not learned again if the same bytes come
//! back, which on the same kind of device they do. A job that is done has its models made again too. One that failed or was
//! cancelled only says what it has lost.

use super::{Calibration, Followup, JobPhase, JobState, Model, ModelSource, ModelState, Task, TaskKind, TaskState};
use crate::expand::{ModelRef, yields};
use crate::id::Digest;
use crate::run::ModelKind;
use std::collections::{BTreeMap, BTreeSet};

impl JobState {
    /// Forgets an artifact, and has done again what the job needs of it.
    pub fn forget(&mut self, digest: &Digest, followup: &mut Followup) {
        self.forget_checkpoints(digest, followup);
        for model in 0..self.models.len() as u32 {
            if self.models[model as usize].refers_to(digest) {
                self.forget_of(model, digest, followup);
            }
        }
    }

    /// Whether what a task starts from is there.
    pub fn can_start(&self, task: u32) -> bool {
        match &self.tasks[task as usize].kind {
            TaskKind::Train { runs } => runs.iter().all(|&run| self.is_run_trained(run) || self.has_start(run)),
            TaskKind::Calibrate { model } => matches!(self.models[*model as usize].state, ModelState::Calibrating(_)),
            TaskKind::Evaluate { model } => matches!(self.models[*model as usize].state, ModelState::Stored(_)),
        }
    }

    /// Sets a task back that nobody is at any more, and says whether it can start at once.
    pub fn set_back(&mut self, task: u32) -> bool {
        let can_start = self.can_start(task);
        let entry = &mut self.tasks[task as usize];
        self.open.tasks += usize::from(matches!(entry.state, TaskState::Done(_)));
        entry.state = if can_start { TaskState::Ready } else { TaskState::Blocked };
        if !self.is_wanted(task) {
            self.tasks[task as usize].state = TaskState::Withdrawn;
            self.open.tasks -= 1;
            return false;
        }
        if !can_start {
            self.wait_at_branch(task);
        }
        can_start
    }

    /// Recalls what waits for a task of a done job that was given up.
    pub(super) fn let_nobody_wait_for(&self, task: u32, followup: &mut Followup) {
        let runs = match &self.tasks[task as usize].kind {
            TaskKind::Train { runs } => runs,
            TaskKind::Calibrate { model } | TaskKind::Evaluate { model } => {
                return followup.recalled.extend(self.models[*model as usize].open_tasks(&self.tasks));
            }
        };
        for run in runs {
            let waiting: Vec<_> = self.runs[run].branches.iter().flat_map(|branch| branch.tasks.clone()).collect();
            waiting.iter().for_each(|&task| self.let_nobody_wait_for(task, followup));
            followup.recalled.extend(waiting);
            let run = &self.runs[run];
            for kind in yields(&run.run) {
                let model = &self.models[self.model_of[&ModelRef { run: run.run.index, kind }] as usize];
                let soups = model.members.iter().flat_map(|&member| &self.members[member as usize].soups);
                let waiting = soups.map(|&soup| &self.models[soup as usize]).chain([model]);
                followup.recalled.extend(waiting.flat_map(|model| model.open_tasks(&self.tasks)));
            }
        }
    }

    /// Whether a task has something to bring, and will some time have what it starts from.
    fn is_wanted(&self, task: u32) -> bool {
        match &self.tasks[task as usize].kind {
            TaskKind::Train { runs } => runs.iter().any(|&run| !self.is_run_trained(run) && self.will_have_start(run)),
            TaskKind::Calibrate { model } | TaskKind::Evaluate { model } => self.will_be(*model),
        }
    }

    fn will_have_start(&self, run: u32) -> bool {
        let parent = self.runs[&run].origin().map(|(parent, _)| self.runs[&parent].task);
        self.has_start(run) || parent.is_some_and(|task| !self.is_given_up(task))
    }

    fn will_be(&self, model: u32) -> bool {
        let model = &self.models[model as usize];
        match (&model.state, &model.source) {
            (ModelState::Lost(_), _) => false,
            (ModelState::Calibrating(_), _) => !model.calibration.is_some_and(|task| self.is_given_up(task)),
            (ModelState::Planned, ModelSource::Run(source)) => !self.is_given_up(self.runs[&source.run].task),
            (ModelState::Planned, ModelSource::Soup(_)) => !self.phase.is_done(),
            _ => true,
        }
    }

    /// Forgets a checkpoint wherever it stands. A run that has nothing left to start from, be it that its own last one or
    /// the one at its branch point went as the second of both, waits for its parent to come there again.
    fn forget_checkpoints(&mut self, digest: &Digest, followup: &mut Followup) {
        let mut poorer = BTreeSet::new();
        for (&index, run) in &mut self.runs {
            let had = run.checkpoints.len();
            run.checkpoints.retain(|checkpoint| checkpoint.artifact.digest != *digest);
            poorer.extend((run.checkpoints.len() < had).then_some(index));
            for branch in &mut run.branches {
                let damaged = branch.checkpoint.take_if(|checkpoint| checkpoint.artifact.digest == *digest);
                poorer.extend(damaged.iter().flat_map(|_| &branch.leaving));
            }
        }
        if self.is_repaired() {
            for ((parent, step), bereft) in self.bereft(&poorer) {
                self.lead_to_branch(parent, step, &bereft, followup);
            }
        }
    }

    /// Those of some runs that have nothing to start from, by the run that they leave and the step at which they do.
    fn bereft(&self, runs: &BTreeSet<u32>) -> BTreeMap<(u32, u64), Vec<u32>> {
        let mut bereft = BTreeMap::<_, Vec<_>>::new();
        for &run in runs.iter().filter(|run| !self.is_run_trained(**run) && !self.has_start(**run)) {
            if let Some((parent, start)) = self.runs[&run].origin() {
                // Where the step is not known, the parent goes the whole way.
                let step = self.runs[&parent].branch(start).and_then(|branch| branch.step).unwrap_or(0);
                bereft.entry((parent, step)).or_default().push(run);
            }
        }
        bereft
    }

    /// Has a run come once more to where others leave it, from a checkpoint that lies before.
    fn lead_to_branch(&mut self, parent: u32, step: u64, leaving: &[u32], followup: &mut Followup) {
        let run = self.runs.get_mut(&parent).expect("a run branches off one of its job");
        run.checkpoints.retain(|checkpoint| checkpoint.step < step);
        let task = run.task;
        followup.recalled.extend(leaving.iter().map(|run| self.runs[run].task));
        if !self.is_given_up(task) {
            followup.recalled.insert(task);
        } else if self.phase.is_done() {
            leaving.iter().for_each(|run| self.let_nobody_wait_for(self.runs[run].task, followup));
        } else {
            let why = "the checkpoint from which it starts was damaged in the store, and cannot be made again";
            leaving.iter().for_each(|&run| self.lose_run(run, why, followup));
            self.check_attainable(None, why.to_owned(), followup);
        }
    }

    fn is_given_up(&self, task: u32) -> bool {
        matches!(self.tasks[task as usize].state, TaskState::Failed | TaskState::Withdrawn)
    }

    fn forget_of(&mut self, model: u32, digest: &Digest, followup: &mut Followup) {
        let entry = &mut self.models[model as usize];
        let is = |stored: &super::Stored| stored.artifact.digest == *digest;
        entry.raw.take_if(|raw| is(raw));
        if !self.is_repaired() || self.phase.is_done() && !self.kept_models().contains(&model) {
            if self.models[model as usize].state.stored().is_some_and(is) {
                self.trouble =
                    Some(format!("the model of `{}` was damaged in the store", self.models[model as usize].name));
            }
            return;
        }
        let entry = &mut self.models[model as usize];
        match &mut entry.state {
            ModelState::Calibrating(calibration) if is(&calibration.raw) => self.make_again(model, followup),
            ModelState::Stored(stored) if is(stored) => self.make_again(model, followup),
            ModelState::Evaluated(evaluation) if is(&evaluation.stored) => self.make_again(model, followup),
            ModelState::Evaluated(evaluation) if evaluation.predictions.digest == *digest => {
                let stored = evaluation.stored.clone();
                if let ModelState::Evaluated(known) = std::mem::replace(&mut entry.state, ModelState::Stored(stored)) {
                    entry.known = Some(known);
                }
                self.open.models += 1;
                self.count_out(model);
                followup.recalled.extend(self.models[model as usize].evaluation);
            }
            ModelState::Lost(lost) => drop(lost.stored.take_if(|stored| is(stored))),
            _ => {}
        }
    }

    /// Sets a model back to what it is made of.
    fn make_again(&mut self, model: u32, followup: &mut Followup) {
        let raw = self.models[model as usize].raw.clone();
        let entry = &mut self.models[model as usize];
        if !self.phase.is_done() {
            self.trouble = Some(format!("the model of `{}` was damaged in the store, and is made again", entry.name));
        }
        let state = raw.map_or(ModelState::Planned, |raw| ModelState::Calibrating(Calibration { raw }));
        let calibrates = matches!(state, ModelState::Calibrating(_));
        if let ModelState::Evaluated(evaluation) = std::mem::replace(&mut entry.state, state) {
            entry.known = Some(evaluation);
            self.open.models += 1;
        }
        followup.recalled.extend(self.models[model as usize].open_tasks(&self.tasks));
        if calibrates {
            followup.recalled.extend(self.models[model as usize].calibration);
        } else {
            self.make_from_source(model, followup);
        }
        if self.models[model as usize].is_lost() {
            return;
        }
        for member in self.models[model as usize].members.clone() {
            for soup in self.members[member as usize].soups.clone() {
                if matches!(self.models[soup as usize].state, ModelState::Planned | ModelState::Averaging) {
                    self.recount(soup, followup);
                    followup.recalled.extend(self.models[soup as usize].open_tasks(&self.tasks));
                }
            }
        }
    }

    fn make_from_source(&mut self, model: u32, followup: &mut Followup) {
        let ModelSource::Run(source) = self.models[model as usize].source else {
            return self.average_again(model, followup);
        };
        let state = self.runs.get_mut(&source.run).expect("models of runs are of the job's runs");
        let task = state.task;
        if self.is_given_up(task) {
            return self.lose_damaged(model, followup);
        }
        followup.recalled.insert(task);
        let state = self.runs.get_mut(&source.run).expect("models of runs are of the job's runs");
        if matches!(source.kind, ModelKind::Snapshot { .. }) {
            // The cycle's end lies before any checkpoint, for all that is known.
            state.checkpoints.clear();
        }
        if let (false, Some((parent, start))) = (self.has_start(source.run), self.runs[&source.run].origin()) {
            let branch = self.runs.get_mut(&parent).expect("a run branches off one of its job").branch_at(start);
            let step = branch.checkpoint.take().map_or(0, |checkpoint| checkpoint.step);
            self.lead_to_branch(parent, step, &[source.run], followup);
        }
    }

    /// Has a soup averaged again, if its members' models are still kept.
    fn average_again(&mut self, model: u32, followup: &mut Followup) {
        let ModelSource::Soup(soup) = &self.models[model as usize].source else { return };
        let kept = self.kept_models();
        let is_kept = |&member: &u32| self.members[member as usize].model.is_some_and(|model| kept.contains(&model));
        if soup.members.iter().all(is_kept) {
            self.recount(model, followup);
        } else {
            self.lose_damaged(model, followup);
        }
    }

    fn lose_damaged(&mut self, model: u32, followup: &mut Followup) {
        if self.phase.is_done() {
            return;
        }
        let why = "its model was damaged in the store, and cannot be made again";
        self.trouble = Some(format!("`{}` is lost: {why}", self.models[model as usize].name));
        self.lose_model(model, why, followup);
        self.check_attainable(None, why.to_owned(), followup);
    }

    /// Whether a run that is not trained can be: from its own checkpoints, from where it leaves another, or from scratch.
    fn has_start(&self, run: u32) -> bool {
        let state = &self.runs[&run];
        match state.origin() {
            None => true,
            Some((parent, start)) => {
                state.resumable().next().is_some() || self.runs[&parent].branch_checkpoint(start).is_some()
            }
        }
    }

    fn wait_at_branch(&mut self, task: u32) {
        let TaskKind::Train { runs } = &self.tasks[task as usize].kind else { return };
        let Some((parent, start)) = runs.first().and_then(|run| self.runs[run].origin()) else { return };
        let parent = self.runs.get_mut(&parent).expect("a run branches off one of its job");
        let waiting = &mut parent.branch_at(start).tasks;
        if !waiting.contains(&task) {
            waiting.push(task);
        }
    }

    /// Takes the evaluation of a model back out of a contest that is not decided yet.
    fn count_out(&mut self, model: u32) {
        let entry = &mut self.models[model as usize];
        let Some(contest) = entry.contest else { return };
        let contest = &mut self.contests[contest as usize];
        if contest.open > 0 {
            contest.open += u32::from(std::mem::take(&mut entry.counted));
        }
    }

    /// Whether what the job has lost is made again.
    fn is_repaired(&self) -> bool {
        matches!(self.phase, JobPhase::Running | JobPhase::Combining | JobPhase::Done(_))
    }
}

impl Model {
    /// The tasks about the model that are not done.
    pub(super) fn open_tasks(&self, tasks: &[Task]) -> impl Iterator<Item = u32> {
        let is_open = |&task: &u32| !matches!(tasks[task as usize].state, TaskState::Done(_));
        [self.evaluation, self.calibration].into_iter().flatten().filter(is_open).collect::<Vec<_>>().into_iter()
    }

    fn refers_to(&self, digest: &Digest) -> bool {
        let raw = match &self.state {
            ModelState::Calibrating(calibration) => Some(&calibration.raw),
            _ => self.raw.as_ref(),
        };
        let predictions = self.state.evaluation().map(|evaluation| &evaluation.predictions);
        let stored = raw.into_iter().chain(self.state.stored()).map(|stored| &stored.artifact);
        stored.chain(predictions).any(|artifact| artifact.digest == *digest)
    }
}
