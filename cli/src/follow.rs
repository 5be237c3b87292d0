//! A job from its submission to its report.

use crate::coordinator::{self, Coordinator};
use crate::display;
use crate::display::progress::{Notes, Screen};
use crate::display::time::moment;
use crate::output::print_line;
use crate::patience::{Patience, passes};
use anyhow::{Context, Result, bail};
use ensemble::job::Job;
use ensemble::report::Report;
use proto::v1::{self, GetReportRequest, JobPhase, LogsRequest, SubmitRequest, WatchRequest};
use tonic::Status;

/// How much of a failed task's log is shown: what led to the failure, and not its whole story.
const LAST_LINES: u32 = 200;

/// Submits a job and gives its name. The key lets the coordinator recognize a request that had to be sent again, also
/// after it was started anew: an answer that was lost makes no second job.
///
/// # Errors
/// The coordinator refuses the job, or does not answer for a long time.
pub async fn submit(coordinator: &Coordinator, job: &Job, notes: &Notes) -> Result<String> {
    let request = SubmitRequest { idempotency_key: random_key()?, job_json: job.to_json() };
    let mut patience = Patience::default();
    loop {
        match coordinator.jobs().submit(request.clone()).await {
            Ok(reply) => return Ok(reply.into_inner().job),
            Err(status) if passes(&status) => {
                if patience.is_fresh() {
                    notes.say(&format!("waiting to submit the job: {:#}", coordinator::refused(status)));
                }
            }
            Err(status) => return Err(coordinator::refused(status)),
        }
        if !patience.wait().await {
            bail!("the coordinator does not answer; once it does, `tutti get jobs` says whether the job was accepted");
        }
    }
}

fn random_key() -> Result<String> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("the system gave no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Shows how a job goes on until it ends, also through restarts of the coordinator.
///
/// # Errors
/// The job failed or was cancelled, or the coordinator is gone for good.
pub async fn to_its_end(coordinator: &Coordinator, job: &str, notes: &Notes) -> Result<()> {
    let mut screen = Screen::new(notes);
    let mut patience = Patience::default();
    let ended = loop {
        match watch(coordinator, job, &mut screen, &mut patience, notes).await {
            Ok(Some(ended)) => break ended,
            Err(status) if !passes(&status) => return Err(coordinator::refused(status)),
            Ok(None) | Err(_) => {}
        }
        if patience.is_fresh() {
            notes.say(&format!("contact with the coordinator is lost; job {job} goes on, trying to reach it again"));
        }
        if !patience.wait().await {
            bail!("the coordinator does not answer any more; job `{job}` goes on once it is started again");
        }
    };
    drop(screen);
    outcome(coordinator, &ended, notes).await
}

/// Follows one stream of states; `None` if it ended before the job.
async fn watch(
    coordinator: &Coordinator,
    job: &str,
    screen: &mut Screen,
    patience: &mut Patience,
    notes: &Notes,
) -> Result<Option<v1::Job>, Status> {
    let request = WatchRequest { job: job.into() };
    let mut states = coordinator.jobs().watch(request).await?.into_inner();
    while let Some(status) = states.message().await? {
        if patience.renew() {
            notes.say("the coordinator is back");
        }
        screen.show(&status);
        if let Some(job) = status.job.filter(|job| has_ended(job.phase())) {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

fn has_ended(phase: JobPhase) -> bool {
    matches!(phase, JobPhase::Done | JobPhase::Failed | JobPhase::Cancelled)
}

async fn outcome(coordinator: &Coordinator, job: &v1::Job, notes: &Notes) -> Result<()> {
    match job.phase() {
        JobPhase::Failed => {
            show_last_words(coordinator, job, notes).await;
            bail!("job `{}` failed: {}", job.id, job.detail)
        }
        JobPhase::Cancelled => bail!("job `{}` was cancelled", job.id),
        _ => Ok(()),
    }
}

/// What the task that failed the job said last. A log that cannot be had must not hide why the job failed.
async fn show_last_words(coordinator: &Coordinator, job: &v1::Job, notes: &Notes) {
    if job.failed_task.is_empty() {
        return;
    }
    match last_words(coordinator, job).await {
        Ok(lines) if lines.is_empty() => {}
        Ok(lines) => notes.say(&format!("the last lines of {}:\n{}", job.failed_task, lines.join("\n"))),
        Err(status) => notes.say(&format!("the log of {} cannot be had: {}", job.failed_task, status.message())),
    }
}

async fn last_words(coordinator: &Coordinator, job: &v1::Job) -> Result<Vec<String>, Status> {
    let request = LogsRequest { job: job.id.clone(), follow: false, task: job.failed_task.clone(), tail: LAST_LINES };
    let mut log = coordinator.jobs().logs(request).await?.into_inner();
    let mut lines = Vec::new();
    while let Some(line) = log.message().await? {
        lines.push(format!("  {}  {}  {}", moment(line.time_ms), line.worker, line.text));
    }
    Ok(lines)
}

/// The report of a finished job.
///
/// # Errors
/// There is no such job, or it has no report yet.
pub async fn report(coordinator: &Coordinator, job: &str) -> Result<Report> {
    let request = GetReportRequest { job: job.into() };
    let reply = coordinator.jobs().get_report(request).await.map_err(coordinator::refused)?;
    serde_json::from_str(&reply.into_inner().report_json)
        .context("the coordinator's report is of another form than this program's")
}

/// Prints the report of a finished job as a table.
///
/// # Errors
/// As [`report`].
pub async fn print_report(coordinator: &Coordinator, job: &str) -> Result<()> {
    print_line(&format!("\n{}", display::report::report(&report(coordinator, job).await?)))
}
