//! What a job loses when a task fails for good, and whether it goes on without.
//!
//! With `ensemble.min_members` it does, as long as that many members can still be had. What hangs on what is lost is lost
//! with it: runs that would have left a run where it has no checkpoint, soups of which no member is left, the places of a
//! contest that has more of them than candidates. A soup takes what is left of its members, and a contest is decided among
//! what is left of its runs.

use super::{Followup, Hopeless, JobState, Lost, ModelSource, ModelState, TaskKind, TaskState};
use crate::expand::{ModelRef, yields};
use crate::id::TaskId;
use crate::report::LostRow;

impl JobState {
    /// Gives a task up, and with it what it would have brought; or the job, if that cannot do without.
    pub fn give_up(&mut self, task: u32, why: String, followup: &mut Followup) {
        self.tasks[task as usize].state = TaskState::Failed;
        self.open.tasks -= 1;
        if self.phase.is_done() {
            self.trouble = Some(why);
            return self.let_nobody_wait_for(task, followup);
        }
        if self.job.ensemble.min_members.is_some() {
            self.lose_task(task, &why, followup);
        }
        self.check_attainable(Some(task), why, followup);
    }

    /// As [`JobState::give_up`], for a soup whose models do not fit together.
    pub fn give_up_soup(&mut self, model: u32, why: String, followup: &mut Followup) {
        if self.job.ensemble.min_members.is_some() {
            self.lose_model(model, &why, followup);
        }
        self.check_attainable(None, why, followup);
    }

    /// The members and averages that the report cannot have, and why.
    pub fn lost(&self) -> Vec<LostRow> {
        let row = |name: &String, why: &String| LostRow { name: name.clone(), why: why.clone() };
        let members = self.members.iter().filter_map(|member| Some(row(&member.name, member.lost.as_ref()?)));
        let averages = self.averages.iter().filter_map(|&model| {
            let model = &self.models[model as usize];
            match &model.state {
                ModelState::Lost(lost) => Some(row(&model.name, &lost.why)),
                _ => None,
            }
        });
        members.chain(averages).collect()
    }

    pub fn members_lost(&self) -> usize {
        self.members.iter().filter(|member| member.lost.is_some()).count()
    }

    /// The task whose failure ended the job.
    pub fn failed_task(&self) -> Option<TaskId> {
        match &self.phase {
            super::JobPhase::Failed(failed) => failed.task.map(|task| self.task_id(task)),
            _ => None,
        }
    }

    pub(super) fn check_attainable(&self, task: Option<u32>, why: String, followup: &mut Followup) {
        if self.phase.is_done() {
            return;
        }
        let (lost, all) = (self.members_lost(), self.members.len());
        let message = match self.job.ensemble.min_members {
            None => why,
            Some(min) if all - lost < min as usize => format!(
                "{lost} of {all} members are lost, and `ensemble.min_members` asks for {min}; the last was lost because {why}"
            ),
            Some(_) => return,
        };
        followup.hopeless.get_or_insert(Hopeless { message, task });
    }

    fn lose_task(&mut self, task: u32, why: &str, followup: &mut Followup) {
        match self.tasks[task as usize].kind.clone() {
            TaskKind::Train { runs } => runs.into_iter().for_each(|run| self.lose_run(run, why, followup)),
            TaskKind::Calibrate { model } | TaskKind::Evaluate { model } => self.lose_model(model, why, followup),
        }
    }

    /// The models that a run has not yielded yet, and the runs that wait for it to come to their branch point.
    pub(super) fn lose_run(&mut self, run: u32, why: &str, followup: &mut Followup) {
        for kind in yields(&self.runs[&run].run) {
            let model = self.model_of[&ModelRef { run, kind }];
            if matches!(self.models[model as usize].state, ModelState::Planned) {
                self.lose_model(model, why, followup);
            }
        }
        let branches = &mut self.runs.get_mut(&run).expect("a task's runs are the job's").branches;
        let waiting: Vec<_> = branches.iter_mut().flat_map(|branch| std::mem::take(&mut branch.tasks)).collect();
        for task in waiting {
            self.tasks[task as usize].state = TaskState::Withdrawn;
            self.open.tasks -= 1;
            self.lose_task(task, why, followup);
        }
    }

    pub(super) fn lose_model(&mut self, model: u32, why: &str, followup: &mut Followup) {
        let entry = &mut self.models[model as usize];
        let stored = entry.state.stored().cloned();
        entry.state = ModelState::Lost(Lost { why: why.to_owned(), stored });
        self.open.models -= 1;
        followup.recalled.extend(self.models[model as usize].open_tasks(&self.tasks));
        for member in self.models[model as usize].members.clone() {
            self.lose_member(member, why, followup);
        }
        self.lose_places(model, followup);
        self.count_in(model, followup);
    }

    fn lose_member(&mut self, member: u32, why: &str, followup: &mut Followup) {
        let entry = &mut self.members[member as usize];
        entry.lost.get_or_insert_with(|| why.to_owned());
        for soup in entry.soups.clone() {
            self.leave_out(soup, member, followup);
        }
    }

    /// Makes a soup without a member, unless it is made already.
    fn leave_out(&mut self, soup: u32, member: u32, followup: &mut Followup) {
        let entry = &mut self.models[soup as usize];
        if !matches!(entry.state, ModelState::Planned | ModelState::Averaging) {
            return;
        }
        let ModelSource::Soup(of) = &mut entry.source else { return };
        of.members.retain(|&of| of != member);
        if of.members.is_empty() {
            self.lose_model(soup, "all its members are lost", followup);
        } else {
            self.recount(soup, followup);
        }
    }

    /// The places of a contest for which it has no candidates any more: the last ones.
    fn lose_places(&mut self, model: u32, followup: &mut Followup) {
        let Some(contest) = self.models[model as usize].contest else { return };
        if self.contests[contest as usize].open == 0 {
            return;
        }
        let left = self.candidates_left(contest);
        let places = &mut self.contests[contest as usize].places;
        let lost = places.split_off(left.min(places.len()));
        for member in lost {
            self.lose_member(member, "too few runs of its cross-validation are left", followup);
        }
    }
}
