//! What a job says of itself in words: why it failed, what it does without, what it waits for.
//!
//! A job that goes on and has nobody at work always has something to say here.

use super::job::{JobPhase, JobState, ModelSource, ModelState};
use super::restart::clipped;
use super::task::{Lease, TaskState};
use super::{Cluster, Millis};

/// Losses that are told one by one; of more only the number is.
const LOSSES_TOLD: usize = 3;

/// How a job's tasks stand.
#[derive(Default)]
struct Outlook<'a> {
    /// Whether a worker in session is at one.
    at_work: bool,
    /// Whether one waits for a slot.
    ready: bool,
    /// One that a worker is at which is out of touch, with its lease.
    unknown: Option<(u32, &'a Lease)>,
    /// When the first of those that are tried again later is.
    paused: Option<Millis>,
}

impl Cluster {
    /// What there is to say of a job; empty when it goes on as it should, or ended so.
    pub(super) fn detail(&self, job: &JobState) -> String {
        let losses = losses(job);
        let trouble = job.trouble.clone();
        let parts: Vec<_> = match &job.phase {
            JobPhase::Running => losses.into_iter().chain(self.progress(job)).collect(),
            JobPhase::Combining => {
                losses.into_iter().chain(["combining the members' predictions".to_owned()]).collect()
            }
            JobPhase::Done(_) => losses.into_iter().chain(mending(job)).collect(),
            JobPhase::Failed(failed) => [failed.message.clone()].into_iter().chain(trouble).collect(),
            JobPhase::Cancelled(_) => trouble.into_iter().collect(),
        };
        clipped(&parts.join("; "))
    }

    fn progress(&self, job: &JobState) -> Option<String> {
        let outlook = self.outlook(job);
        let waiting = if outlook.at_work { None } else { Some(self.waiting(job, &outlook)) };
        let parts: Vec<_> = job.trouble.clone().into_iter().chain(waiting).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn outlook<'a>(&self, job: &'a JobState) -> Outlook<'a> {
        let mut outlook = Outlook::default();
        for (task, entry) in job.tasks.iter().enumerate() {
            match &entry.state {
                TaskState::Leased(lease) if self.workers.in_session(&lease.worker).is_ok() => outlook.at_work = true,
                TaskState::Leased(lease) => outlook.unknown = Some((task as u32, lease)),
                TaskState::Ready => outlook.ready = true,
                TaskState::Paused(pause) => {
                    outlook.paused = Some(outlook.paused.map_or(pause.until, |until| until.min(pause.until)));
                }
                TaskState::Blocked | TaskState::Done(_) | TaskState::Failed | TaskState::Withdrawn => {}
            }
        }
        outlook
    }

    /// What a job waits for, at which nobody is at work: what will be over soonest.
    fn waiting(&self, job: &JobState, outlook: &Outlook<'_>) -> String {
        if let Some((task, Lease { worker, .. })) = outlook.unknown {
            let task = job.task_id(task);
            return format!(
                "`{task}` is with worker `{worker}`, which is out of touch: it goes on there or, after its lease, elsewhere"
            );
        }
        if outlook.ready {
            return self.waiting_for_slot(job.job.priority);
        }
        if let Some(until) = outlook.paused {
            return format!("it waits until {} UTC", time_of_day(until));
        }
        let averaging = |model: &&super::job::Model| matches!(model.state, ModelState::Averaging);
        match job.models.iter().filter(|model| matches!(model.source, ModelSource::Soup(_))).find(averaging) {
            Some(soup) => format!("averaging the weights of `{}`", soup.name),
            None => "between two steps".to_owned(),
        }
    }

    fn waiting_for_slot(&self, priority: u8) -> String {
        if !self.workers.any_connected() {
            return "no worker is in session".to_owned();
        }
        if !self.workers.any_taking() {
            return "every worker is drained or set aside; `tutti get workers` lists them, `tutti reinstate` lets one work"
                .to_owned();
        }
        match self.queue.most_urgent().filter(|most| *most > priority) {
            Some(most) => format!("waits for a slot, behind jobs of priority {most}"),
            None => "waits for a slot".to_owned(),
        }
    }
}

/// What a job does without, and why.
fn losses(job: &JobState) -> Option<String> {
    let lost = job.lost();
    let told: Vec<_> = lost.iter().take(LOSSES_TOLD).map(|row| format!("`{}` ({})", row.name, row.why)).collect();
    let more = match lost.len().saturating_sub(LOSSES_TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!told.is_empty()).then(|| format!("it does without {}{more}", told.join(", ")))
}

/// What a job that is done has lost from the store since.
fn mending(job: &JobState) -> Option<String> {
    let kept = job.kept_models().into_iter().map(|model| &job.models[model as usize]);
    let mut missing = kept.filter(|model| model.state.stored().is_none() && !model.is_lost());
    let name = &missing.next()?.name;
    let more = match missing.count() {
        0 => String::new(),
        more => format!(" and of {more} more"),
    };
    let outcome = if job.is_busy() { "is made again" } else { "cannot be made again" };
    let why = job.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Some(format!("the model of `{name}`{more} was damaged in the store, and {outcome}{why}"))
}

fn time_of_day(moment: Millis) -> String {
    let seconds = moment / 1_000;
    format!("{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}
