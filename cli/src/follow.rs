//! A job from its submission to its report.

use crate::coordinator::{self, Coordinator};
use crate::display;
use crate::display::progress::{Notes, Screen};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use ensemble::job::Job;
use ensemble::report::Report;
use proto::v1::{self, GetReportRequest, JobPhase, SubmitRequest, WatchRequest};
use std::time::Duration;
use tonic::Status;

/// A coordinator that is started again is back well within this.
const RECONNECT_TRIES: u32 = 60;
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Submits a job and gives its name. The key lets the coordinator recognize a request that had to be sent again.
///
/// # Errors
/// The coordinator refuses the job, or does not answer.
pub async fn submit(coordinator: &Coordinator, job: &Job) -> Result<String> {
    let request = SubmitRequest { idempotency_key: random_key()?, job_json: job.to_json() };
    for _ in 0..RECONNECT_TRIES {
        match coordinator.jobs().submit(request.clone()).await {
            Ok(reply) => return Ok(reply.into_inner().job),
            Err(status) if coordinator::is_transport(&status) => tokio::time::sleep(RECONNECT_PAUSE).await,
            Err(status) => return Err(coordinator::refused(status)),
        }
    }
    bail!("the coordinator does not answer; start it again and submit the job anew")
}

fn random_key() -> Result<String> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("the system gave no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Shows how a job goes on until it ends.
///
/// # Errors
/// The job failed or was cancelled, or the coordinator is gone for good.
pub async fn to_its_end(coordinator: &Coordinator, job: &str, notes: &Notes) -> Result<()> {
    let mut screen = Screen::new(notes);
    let mut tries = 0;
    loop {
        match watch(coordinator, job, &mut screen, &mut tries).await {
            Ok(Some(ended)) => return outcome(&ended),
            Err(status) if !coordinator::is_transport(&status) => return Err(coordinator::refused(status)),
            Ok(None) | Err(_) => {}
        }
        tries += 1;
        if tries > RECONNECT_TRIES {
            bail!("the coordinator does not answer any more; job `{job}` goes on once it is started again");
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Follows one stream of states; `None` if it ended before the job.
async fn watch(
    coordinator: &Coordinator,
    job: &str,
    screen: &mut Screen,
    tries: &mut u32,
) -> Result<Option<v1::Job>, Status> {
    let request = WatchRequest { job: job.into() };
    let mut states = coordinator.jobs().watch(request).await?.into_inner();
    while let Some(status) = states.message().await? {
        *tries = 0;
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

fn outcome(job: &v1::Job) -> Result<()> {
    match job.phase() {
        JobPhase::Failed => bail!("job `{}` failed: {}", job.id, job.detail),
        JobPhase::Cancelled => bail!("job `{}` was cancelled", job.id),
        _ => Ok(()),
    }
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
