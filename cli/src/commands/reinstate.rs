//! `tutti reinstate`: gives a worker tasks again.

use crate::coordinator::{self, Address, Coordinator};
use crate::output::print_line;
use anyhow::Result;
use proto::v1::ReinstateWorkerRequest;

/// Give tasks again to a worker that was drained, or set aside because its device failed time and again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The worker's name, as `tutti get workers` shows it.
    worker: String,
    #[command(flatten)]
    address: Address,
}

/// Reinstates the worker.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = ReinstateWorkerRequest { worker: args.worker.clone() };
    coordinator.admin().reinstate_worker(request).await.map_err(coordinator::refused)?;
    print_line(&format!("worker {} is given tasks again", args.worker))
}
