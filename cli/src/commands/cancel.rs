//! `tutti cancel`: ends a job.

use crate::coordinator::{self, Address, Coordinator};
use crate::output::print_line;
use anyhow::Result;
use proto::v1::CancelRequest;

/// End a job. What it has stored stays.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's name, as `tutti get jobs` shows it.
    job: String,
    #[command(flatten)]
    address: Address,
}

/// Cancels the job.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    coordinator.jobs().cancel(CancelRequest { job: args.job.clone() }).await.map_err(coordinator::refused)?;
    print_line(&format!("job {} is cancelled", args.job))
}
