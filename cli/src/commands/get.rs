//! `tutti get`: what there is in a cluster.

use crate::coordinator::{self, Address, Coordinator};
use crate::display::list::{list, or_dash};
use crate::display::size;
use crate::display::time::{age, now_ms};
use crate::output::{self, Output, print_json, print_line};
use anyhow::Result;
use clap::Subcommand;
use proto::v1::{ListCheckpointsRequest, ListJobsRequest, ListMembersRequest, ListWorkersRequest};

/// List jobs, members, workers or checkpoints.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// A table, or JSON of a documented shape.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All jobs, the newest last.
    Jobs,
    /// A job's members and their scores.
    Members {
        /// The job's name, as `tutti get jobs` shows it.
        job: String,
    },
    /// All workers and what their slots are at.
    Workers,
    /// A job's stored checkpoints, snapshots and models.
    Checkpoints {
        /// The job's name, as `tutti get jobs` shows it.
        job: String,
    },
}

/// Asks for the list and prints it.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    match args.what {
        What::Jobs => print(jobs(&coordinator).await?, args.output, jobs_table),
        What::Members { job } => print(members(&coordinator, job).await?, args.output, members_table),
        What::Workers => print(workers(&coordinator).await?, args.output, workers_table),
        What::Checkpoints { job } => print(checkpoints(&coordinator, job).await?, args.output, checkpoints_table),
    }
}

fn print<T: serde::Serialize>(things: Vec<T>, output: Output, table: fn(&[T], u64) -> String) -> Result<()> {
    match output {
        Output::Json => print_json(&things),
        Output::Table => print_line(&table(&things, now_ms())),
    }
}

async fn jobs(coordinator: &Coordinator) -> Result<Vec<output::Job>> {
    let reply = coordinator.jobs().list_jobs(ListJobsRequest {}).await.map_err(coordinator::refused)?;
    Ok(reply.into_inner().jobs.into_iter().map(output::Job::from).collect())
}

async fn members(coordinator: &Coordinator, job: String) -> Result<Vec<output::Member>> {
    let reply = coordinator.jobs().list_members(ListMembersRequest { job }).await.map_err(coordinator::refused)?;
    Ok(reply.into_inner().members.into_iter().map(output::Member::from).collect())
}

async fn workers(coordinator: &Coordinator) -> Result<Vec<output::Worker>> {
    let reply = coordinator.jobs().list_workers(ListWorkersRequest {}).await.map_err(coordinator::refused)?;
    Ok(reply.into_inner().workers.into_iter().map(output::Worker::from).collect())
}

async fn checkpoints(coordinator: &Coordinator, job: String) -> Result<Vec<output::Checkpoint>> {
    let request = ListCheckpointsRequest { job };
    let reply = coordinator.jobs().list_checkpoints(request).await.map_err(coordinator::refused)?;
    Ok(reply.into_inner().checkpoints.into_iter().map(output::Checkpoint::from).collect())
}

fn jobs_table(jobs: &[output::Job], now: u64) -> String {
    let row = |job: &output::Job| {
        let lost = if job.members_lost > 0 { format!(", {} lost", job.members_lost) } else { String::new() };
        let members = format!("{} of {}{lost}", job.members_ready, job.members_total);
        let served = if job.served { "yes" } else { "no" };
        vec![
            job.id.clone(),
            or_dash(&job.namespace),
            job.priority.to_string(),
            job.phase.clone(),
            members,
            served.into(),
            age(job.submitted_ms, now),
            or_dash(&job.detail),
        ]
    };
    list(
        &["JOB", "NAMESPACE", "PRIORITY", "PHASE", "MEMBERS READY", "SERVED", "AGE", "DETAIL"],
        jobs.iter().map(row).collect(),
    )
}

fn members_table(members: &[output::Member], _: u64) -> String {
    let score =
        |scores: &Option<output::Scores>, of: fn(&output::Scores) -> String| scores.as_ref().map_or("-".into(), of);
    let row = |member: &output::Member| {
        vec![
            member.index.to_string(),
            member.name.clone(),
            member.state.clone(),
            score(&member.validation, |scores| format!("{:.2} %", 100.0 * scores.accuracy)),
            score(&member.test, |scores| format!("{:.2} %", 100.0 * scores.accuracy)),
            score(&member.test, |scores| format!("{:.4}", scores.nll)),
            short(member.digest.as_deref()),
        ]
    };
    let header = ["INDEX", "NAME", "STATE", "VALIDATION", "TEST", "TEST NLL", "DIGEST"];
    list(&header, members.iter().map(row).collect())
}

/// A line for each slot; a worker that is gone has none, and one line all the same.
fn workers_table(workers: &[output::Worker], now: u64) -> String {
    let mut rows = Vec::new();
    for worker in workers {
        let standing = worker.standing.replace('_', " ");
        let row = |[index, device, task]: [String; 3]| {
            let heartbeat = age(worker.last_heartbeat_ms, now);
            vec![worker.id.clone(), worker.state.clone(), standing.clone(), heartbeat, index, device, task]
        };
        if worker.slots.is_empty() {
            rows.push(row(["-", "-", "-"].map(String::from)));
        }
        let slot = |slot: &output::Slot| {
            [slot.index.to_string(), slot.device.clone(), slot.task.clone().unwrap_or_else(|| "idle".into())]
        };
        rows.extend(worker.slots.iter().map(slot).map(row));
    }
    list(&["WORKER", "STATE", "STANDING", "HEARTBEAT", "SLOT", "DEVICE", "TASK"], rows)
}

fn checkpoints_table(checkpoints: &[output::Checkpoint], now: u64) -> String {
    let row = |checkpoint: &output::Checkpoint| {
        vec![
            checkpoint.run.clone(),
            checkpoint.kind.clone(),
            checkpoint.step.map_or("-".into(), |step| step.to_string()),
            size::bytes(checkpoint.bytes),
            age(checkpoint.committed_ms, now),
            short(Some(&checkpoint.digest)),
        ]
    };
    list(&["RUN", "KIND", "STEP", "SIZE", "AGE", "DIGEST"], checkpoints.iter().map(row).collect())
}

/// Enough of a digest to tell two apart.
fn short(digest: Option<&str>) -> String {
    digest.map_or("-".into(), |digest| digest.chars().take(12).collect())
}
