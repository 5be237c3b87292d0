//! `tutti share`: how the slots are shared between namespaces.

use crate::coordinator::{self, Address, Coordinator};
use crate::display::list::list;
use crate::output::{self, Output, print_json, print_line};
use anyhow::Result;
use proto::v1::{ListSharesRequest, SetShareRequest};

/// List the namespaces and their weights, or give one another weight.
///
/// Jobs of equal priority wait for slots by namespace: the one with the fewest busy slots for its weight is next. A job
/// names its namespace in its file (`namespace: NAME`).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The namespace to give a weight.
    #[arg(requires = "weight")]
    namespace: Option<String>,
    /// How much it gets beside the others: 1 to 1000, and 1 where nobody said otherwise.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    weight: Option<u32>,
    /// A table, or JSON of a documented shape.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    address: Address,
}

/// Sets the weight if there is one, and else lists them all.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let (Some(namespace), Some(weight)) = (args.namespace, args.weight) else {
        return show(&shares(&coordinator).await?, args.output);
    };
    let request = SetShareRequest { namespace: namespace.clone(), weight };
    coordinator.admin().set_share(request).await.map_err(coordinator::refused)?;
    print_line(&format!("namespace {namespace} has weight {weight}"))
}

async fn shares(coordinator: &Coordinator) -> Result<Vec<output::Share>> {
    let reply = coordinator.admin().list_shares(ListSharesRequest {}).await.map_err(coordinator::refused)?;
    Ok(reply.into_inner().shares.into_iter().map(output::Share::from).collect())
}

fn show(shares: &[output::Share], output: Output) -> Result<()> {
    let row =
        |share: &output::Share| vec![share.namespace.clone(), share.weight.to_string(), share.slots_busy.to_string()];
    match output {
        Output::Json => print_json(&shares),
        Output::Table => print_line(&list(&["NAMESPACE", "WEIGHT", "SLOTS BUSY"], shares.iter().map(row).collect())),
    }
}
