//! What a cluster shows of itself.

use super::job::{JobPhase, JobState};
use super::worker::{SlotEntry, Standing as WorkerStanding, Worker, WorkerState as State};
use super::{Cluster, Effect, Rejection};
use crate::id::{JobId, WorkerId};
use crate::job::Job;
use crate::report::Report;
use crate::view::{
    AverageView, CheckpointView, JobView, MemberView, RunView, SlotView, Standing, TaskView, WorkerState, WorkerView,
};

impl Cluster {
    /// All jobs, in the order of submission.
    pub fn jobs(&self) -> Vec<JobView> {
        self.jobs.iter().map(|job| self.job_view(job)).collect()
    }

    /// One job.
    ///
    /// # Errors
    /// [`Rejection::UnknownJob`], as for all that follow.
    pub fn job(&self, job: &JobId) -> Result<JobView, Rejection> {
        Ok(self.job_view(self.state(job)?))
    }

    /// The job file of a job.
    pub fn job_file(&self, job: &JobId) -> Result<&Job, Rejection> {
        Ok(&self.state(job)?.job)
    }

    /// The members of a job, in the ensemble's order.
    pub fn members(&self, job: &JobId) -> Result<Vec<MemberView>, Rejection> {
        let state = self.state(job)?;
        let kept = state.kept_models();
        Ok((0..state.members.len()).map(|index| state.member_view(index, &kept)).collect())
    }

    /// The averages of a job, in the job file's order.
    pub fn averages(&self, job: &JobId) -> Result<Vec<AverageView>, Rejection> {
        let state = self.state(job)?;
        let kept = state.kept_models();
        Ok((0..state.averages.len()).map(|index| state.average_view(index, &kept)).collect())
    }

    /// The runs of a job, by index.
    pub fn runs(&self, job: &JobId) -> Result<Vec<RunView>, Rejection> {
        let state = self.state(job)?;
        Ok(state.runs.values().map(|run| state.run_view(run)).collect())
    }

    /// The tasks of a job, in the order they came up.
    pub fn tasks(&self, job: &JobId) -> Result<Vec<TaskView>, Rejection> {
        let state = self.state(job)?;
        Ok((0..state.tasks.len() as u32).map(|task| state.task_view(task)).collect())
    }

    /// How many tasks beside training are waiting or at work.
    pub fn evaluations_open(&self, job: &JobId) -> Result<u32, Rejection> {
        Ok(self.state(job)?.evaluations_open() as u32)
    }

    /// The checkpoints and models of a job that are in the store, run by run.
    pub fn checkpoints(&self, job: &JobId) -> Result<Vec<CheckpointView>, Rejection> {
        Ok(self.state(job)?.checkpoint_views())
    }

    /// The report of a job; none while there is none.
    pub fn report(&self, job: &JobId) -> Result<Option<&Report>, Rejection> {
        match &self.state(job)?.phase {
            JobPhase::Done(done) => Ok(Some(&done.report)),
            _ => Ok(None),
        }
    }

    /// All workers, those without a session included.
    pub fn workers(&self) -> Vec<WorkerView> {
        self.workers.iter().map(|(id, worker)| self.worker_view(id, worker)).collect()
    }

    /// What the coordinator itself was asked for and has not finished: averages and reports. After a restart these are
    /// to be done again.
    pub fn outstanding(&self) -> Vec<Effect> {
        let may_ask = |job: &&JobState| job.phase.ended().is_none() || job.phase.is_done();
        self.jobs.iter().filter(may_ask).flat_map(JobState::outstanding).collect()
    }

    fn state(&self, job: &JobId) -> Result<&JobState, Rejection> {
        Ok(&self.jobs[self.number(job)? as usize])
    }

    fn job_view(&self, job: &JobState) -> JobView {
        JobView { detail: self.detail(job), ..job.view() }
    }

    fn worker_view(&self, id: &WorkerId, worker: &Worker) -> WorkerView {
        let connected = worker.is_connected();
        let state = match worker.state {
            State::Connected(_) => WorkerState::Connected,
            State::Unknown(_) => WorkerState::Unknown,
            State::Gone(_) => WorkerState::Gone,
        };
        let slots = worker.slots().into_iter().flatten();
        let slots: Vec<_> = slots.map(|(&index, slot)| self.slot_view(index, slot)).collect();
        let standing = match worker.standing {
            WorkerStanding::Active(_) => Standing::Active,
            WorkerStanding::Draining if slots.iter().any(|slot| slot.task.is_some()) => Standing::Draining,
            WorkerStanding::Draining => Standing::Drained,
            WorkerStanding::SetAside => Standing::SetAside,
        };
        WorkerView { id: id.clone(), connected, state, standing, slots, last_heartbeat_ms: worker.heard }
    }

    fn slot_view(&self, index: u32, slot: &SlotEntry) -> SlotView {
        let task = slot.state.task().map(|task| self.task_id(task));
        SlotView { index, device: slot.device.clone(), task }
    }
}
