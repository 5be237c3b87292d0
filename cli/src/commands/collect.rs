//! `tutti collect`: removes artifacts that nothing refers to.

use crate::coordinator::{self, Address, Coordinator};
use crate::display::list::list;
use crate::display::size;
use crate::output::{self, Output, print_json, print_line};
use anyhow::Result;
use proto::v1::CollectGarbageRequest;

/// Remove the artifacts that no live job, kept model, pin or served ensemble refers to.
///
/// What is young may be on its way into a job, and is left alone. The coordinator does this by itself from time to time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// A table, or JSON of a documented shape.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    address: Address,
}

/// Collects, and says what was or would be removed.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = CollectGarbageRequest { dry_run: args.dry_run };
    let reply = coordinator.admin().collect_garbage(request).await.map_err(coordinator::refused)?;
    let collected = output::Collected::from(reply.into_inner());
    match args.output {
        Output::Json => print_json(&collected),
        Output::Table => print_line(&table(&collected, args.dry_run)),
    }
}

fn table(collected: &output::Collected, dry_run: bool) -> String {
    let removed = if dry_run { "to be removed" } else { "removed" };
    let (gone, kept) = (size::bytes(collected.removed_bytes), size::bytes(collected.kept_bytes));
    let sum = format!("{gone} {removed}, {kept} kept");
    let row = |artifact: &output::RemovedArtifact| vec![artifact.digest.clone(), size::bytes(artifact.bytes)];
    let rows: Vec<_> = collected.removed.iter().map(row).collect();
    let rows = if rows.is_empty() { None } else { Some(list(&["DIGEST", "SIZE"], rows)) };
    let reason = collected.reason.as_ref().map(|reason| format!("nothing is removed: {reason}"));
    [rows, reason, Some(sum)].into_iter().flatten().collect::<Vec<_>>().join("\n")
}
