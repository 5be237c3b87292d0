//! `tutti logs`: what a job's tasks have said.

use crate::coordinator::{self, Address, Coordinator};
use crate::display::time::moment;
use anyhow::Result;
use proto::v1::{LogLine, LogsRequest};
use std::io::Write;

/// Print a job's log, from its start.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's name, as `tutti get jobs` shows it.
    job: String,
    /// Go on with it as it grows, until the job ends.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    address: Address,
}

/// Prints line by line, as they come.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = LogsRequest { job: args.job, follow: args.follow, ..LogsRequest::default() };
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
