//! `tutti unpin`: keeps an artifact no longer for its own sake.

use crate::coordinator::{self, Address, Coordinator};
use crate::output::print_line;
use anyhow::Result;
use proto::v1::UnpinRequest;

/// Undo `tutti pin`: the artifact goes with the last job that refers to it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifact's SHA-256.
    digest: String,
    #[command(flatten)]
    address: Address,
}

/// Unpins the artifact.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = UnpinRequest { digest: args.digest.clone() };
    coordinator.admin().unpin(request).await.map_err(coordinator::refused)?;
    print_line(&format!("{} is not pinned any more", args.digest))
}
