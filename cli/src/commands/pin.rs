//! `tutti pin`: keeps an artifact.

use crate::coordinator::{self, Address, Coordinator};
use crate::output::print_line;
use anyhow::Result;
use proto::v1::PinRequest;

/// Keep an artifact, whatever becomes of the jobs that refer to it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifact's SHA-256, as `--output json` and `tutti export` name it.
    digest: String,
    #[command(flatten)]
    address: Address,
}

/// Pins the artifact.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = PinRequest { digest: args.digest.clone() };
    coordinator.admin().pin(request).await.map_err(coordinator::refused)?;
    print_line(&format!("{} is pinned", args.digest))
}
