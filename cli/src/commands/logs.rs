//! `tutti logs`: what a job's tasks have said.

use crate::coordinator::{self, Address, Coordinator};
use crate::display::time::moment;
use anyhow::Result;
use proto::v1::{LogLine, LogsRequest};
use std::io::Write;
use std::num::NonZeroU32;

/// Print a job's log, from its start or its last lines on.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's name, as `tutti get jobs` shows it.
    job: String,
    /// Go on with it as it grows, until the job ends.
    #[arg(long, short)]
    follow: bool,
    /// Only the lines of this task, such as digits-1/train/0.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Only the last N of the lines that are there already.
    #[arg(long, value_name = "N")]
    tail: Option<NonZeroU32>,
    #[command(flatten)]
    address: Address,
}

/// Prints line by line, as they come.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let (task, tail) = (args.task.unwrap_or_default(), args.tail.map_or(0, NonZeroU32::get));
    let request = LogsRequest { job: args.job, follow: args.follow, task, tail };
    let mut lines = coordinator.jobs().logs(request).await.map_err(coordinator::refused)?.into_inner();
    let mut out = std::io::stdout();
    while let Some(line) = lines.message().await.map_err(coordinator::refused)? {
        writeln!(out, "{}", text(&line))?;
    }
    Ok(())
}

fn text(line: &LogLine) -> String {
    format!("{}  {}  {}  {}", moment(line.time_ms), line.task, line.worker, line.text)
}
