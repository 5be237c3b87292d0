//! What users ask: submit and cancel.

use super::job::{Cancelled, JobPhase, JobState};
use super::settings::{JOBS_MAX, NAME_BYTES_MAX, RUNS_TOTAL_MAX};
use super::{Cluster, Effect, Millis, Rejection};
use crate::expand::expand;
use crate::id::JobId;
use crate::job::Job;

impl Cluster {
    /// Takes a job in. The same key again is the same job, whatever else is said: a client that had no answer asks again.
    pub(super) fn handle_submit(&mut self, now: Millis, key: String, job: Box<Job>) -> Result<Vec<Effect>, Rejection> {
        if let Some(&known) = self.keys.get(&key) {
            return Ok(vec![Effect::Accepted { job: self.jobs[known as usize].id.clone() }]);
        }
        if key.is_empty() || key.len() > NAME_BYTES_MAX {
            return Err(Rejection::InvalidJob(format!("an idempotency key has 1 to {NAME_BYTES_MAX} bytes")));
        }
        if self.jobs.len() >= JOBS_MAX {
            return Err(Rejection::Full(format!("the cluster has its {JOBS_MAX} jobs")));
        }
        let plan = expand(&job).map_err(|error| Rejection::InvalidJob(error.to_string()))?;
        let runs = self.runs + plan.runs_reserved as usize;
        if runs > RUNS_TOTAL_MAX {
            return Err(Rejection::Full(format!(
                "with this job the cluster would have {runs} runs of {RUNS_TOTAL_MAX}"
            )));
        }
        self.queue.shares().check_room(&job.namespace)?;
        let number = self.jobs.len() as u32;
        let id = JobId::new(format!("{}-{}", job.name, number + 1));
        let (state, followup) = JobState::new(now, id.clone(), job, plan);
        self.runs = runs;
        self.jobs.push(state);
        self.numbers.insert(id.clone(), number);
        self.keys.insert(key, number);
        let mut effects = vec![Effect::Accepted { job: id }];
        self.follow(now, number, followup, &mut effects);
        Ok(effects)
    }

    /// Ends a job. To cancel it twice is no mistake.
    pub(super) fn handle_cancel(&mut self, now: Millis, job: &JobId) -> Result<Vec<Effect>, Rejection> {
        let number = self.number(job)?;
        match self.jobs[number as usize].phase {
            JobPhase::Cancelled(_) => Ok(Vec::new()),
            JobPhase::Done(_) | JobPhase::Failed(_) => Err(Rejection::JobEnded(job.clone())),
            JobPhase::Running | JobPhase::Combining => {
                let mut effects = Vec::new();
                self.end_job(number, JobPhase::Cancelled(Cancelled { ended: now }), &mut effects);
                Ok(effects)
            }
        }
    }

    pub(super) fn number(&self, job: &JobId) -> Result<u32, Rejection> {
        self.numbers.get(job).copied().ok_or_else(|| Rejection::UnknownJob(job.clone()))
    }
}
