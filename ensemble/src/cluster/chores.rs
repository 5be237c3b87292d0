//! What the coordinator itself brings back: averages and reports.

use super::job::{Finished, Followup, Hopeless, JobPhase, JobState, ModelSource, ModelState, Stored};
use super::{AverageOutcome, Cluster, Effect, Millis, Rejection, ReportOutcome};
use crate::id::JobId;
use crate::report::Report;

impl Cluster {
    pub(super) fn handle_finish_average(
        &mut self,
        now: Millis,
        job: &JobId,
        average: u32,
        outcome: AverageOutcome,
    ) -> Result<Vec<Effect>, Rejection> {
        let number = self.open_job(job, average)?;
        let state = &mut self.jobs[number as usize];
        let unasked = || Rejection::Unexpected(format!("nobody asked for average {average} of job `{job}`"));
        let &model = state.averages.get(average as usize).ok_or_else(unasked)?;
        let entry = &state.models[model as usize];
        let mut followup = Followup::default();
        match (&entry.state, outcome) {
            (ModelState::Averaging, AverageOutcome::Averaged { artifact, batch_norm }) => {
                state.store(model, Stored { artifact, committed: now }, batch_norm, &mut followup);
            }
            (ModelState::Averaging, AverageOutcome::Refused { message }) => {
                let why = format!("`{}` cannot be made: {message}", entry.name);
                state.give_up_soup(model, why, &mut followup);
            }
            // It was heard before.
            (
                ModelState::Calibrating(_) | ModelState::Stored(_) | ModelState::Evaluated(_) | ModelState::Lost(_),
                _,
            ) if matches!(entry.source, ModelSource::Soup(_)) => {
                return Ok(Vec::new());
            }
            _ => return Err(unasked()),
        }
        let mut effects = Vec::new();
        self.follow(now, number, followup, &mut effects);
        Ok(effects)
    }

    pub(super) fn handle_finish_report(
        &mut self,
        now: Millis,
        job: &JobId,
        outcome: ReportOutcome,
    ) -> Result<Vec<Effect>, Rejection> {
        let number = self.number(job)?;
        let mut effects = Vec::new();
        let state = &self.jobs[number as usize];
        match (&state.phase, with_lost(outcome, state)) {
            (JobPhase::Combining, ReportOutcome::Done { report }) => {
                self.end_job(number, JobPhase::Done(Finished { report, ended: now }), &mut effects);
            }
            (JobPhase::Combining, ReportOutcome::Refused { message }) => {
                let hopeless = Some(Hopeless { message, task: None });
                let followup = Followup { hopeless, ..Followup::default() };
                self.follow(now, number, followup, &mut effects);
            }
            (JobPhase::Done(done), ReportOutcome::Done { report }) if done.report == report => {}
            // Something was damaged and is made again; then the job is combined anew.
            (JobPhase::Running, _) => {
                return Err(Rejection::Unexpected(format!("job `{job}` is not ready to be combined")));
            }
            _ => return Err(Rejection::JobEnded(job.clone())),
        }
        Ok(effects)
    }

    /// A job that may wait for an average: one that is done does if it was damaged.
    fn open_job(&self, job: &JobId, average: u32) -> Result<u32, Rejection> {
        let number = self.number(job)?;
        let state = &self.jobs[number as usize];
        match state.phase.ended() {
            Some(_) if !state.awaits_average(average) => Err(Rejection::JobEnded(job.clone())),
            _ => Ok(number),
        }
    }
}

/// The coordinator's report, and what it has to do without, which the cluster knows.
fn with_lost(outcome: ReportOutcome, job: &JobState) -> ReportOutcome {
    match outcome {
        ReportOutcome::Done { report } => {
            ReportOutcome::Done { report: Box::new(Report { lost: job.lost(), ..*report }) }
        }
        refused @ ReportOutcome::Refused { .. } => refused,
    }
}
