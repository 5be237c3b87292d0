//! What the coordinator itself brings back: averages and reports.

use super::job::{Finished, Followup, JobPhase, ModelSource, ModelState, Stored};
use super::{AverageOutcome, Cluster, Effect, Millis, Rejection, ReportOutcome};
use crate::id::JobId;

impl Cluster {
    pub(super) fn handle_finish_average(
        &mut self,
        now: Millis,
        job: &JobId,
        average: u32,
        outcome: AverageOutcome,
    ) -> Result<Vec<Effect>, Rejection> {
        let number = self.open_job(job)?;
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
                followup.hopeless = Some(format!("`{}` cannot be made: {message}", entry.name));
            }
            // It was heard before.
            (ModelState::Calibrating(_) | ModelState::Stored(_) | ModelState::Evaluated(_), _)
                if matches!(entry.source, ModelSource::Soup(_)) =>
            {
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
        match (&self.jobs[number as usize].phase, outcome) {
            (JobPhase::Combining, ReportOutcome::Done { report }) => {
                self.end_job(number, JobPhase::Done(Finished { report, ended: now }), &mut effects);
            }
            (JobPhase::Combining, ReportOutcome::Refused { message }) => {
                let followup = Followup { hopeless: Some(message), ..Followup::default() };
                self.follow(now, number, followup, &mut effects);
            }
            (JobPhase::Done(done), ReportOutcome::Done { report }) if done.report == report => {}
            (JobPhase::Running, _) => {
                return Err(Rejection::Unexpected(format!("job `{job}` is not ready to be combined")));
            }
            _ => return Err(Rejection::JobEnded(job.clone())),
        }
        Ok(effects)
    }

    fn open_job(&self, job: &JobId) -> Result<u32, Rejection> {
        let number = self.number(job)?;
        match self.jobs[number as usize].phase.ended() {
            None => Ok(number),
            Some(_) => Err(Rejection::JobEnded(job.clone())),
        }
    }
}
