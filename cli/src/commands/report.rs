//! `tutti report`: what a finished job scored.

use crate::coordinator::{Address, Coordinator};
use crate::display;
use crate::follow;
use crate::output::{Output, print_json, print_line};
use anyhow::Result;

/// Print a finished job's report: its members, averages and ensemble, on validation and test data.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's name, as `tutti get jobs` shows it.
    job: String,
    /// A table, or JSON of a documented shape.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    address: Address,
}

/// Asks for the report and prints it.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let report = follow::report(&coordinator, &args.job).await?;
    match args.output {
        Output::Json => print_json(&report),
        Output::Table => print_line(&display::report::report(&report)),
    }
}
