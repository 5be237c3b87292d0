//! `tutti run`: submits a job and follows it.

use crate::coordinator::{Address, Coordinator};
use crate::display::progress::Notes;
use crate::exit::Interrupted;
use crate::local::Signals;
use crate::output::print_line;
use crate::{follow, job_file};
use anyhow::Result;
use ensemble::job::Override;
use std::path::PathBuf;

/// Submit a job, follow it to its end, and print its report.
///
/// Ctrl-C leaves the job running: `tutti cancel` ends it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job file.
    #[arg(value_name = "JOB.yaml")]
    file: PathBuf,
    /// Change a value of the job file, as in train.epochs=3. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
    /// Print the job's name and return at once.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    address: Address,
}

/// Submits the job and waits for it.
pub async fn execute(args: Args) -> Result<()> {
    let job = job_file::read(&args.file, &args.overrides)?;
    let coordinator = Coordinator::find(&args.address).await?;
    let mut signals = Signals::listen()?;
    let notes = Notes::new();
    let id = tokio::select! {
        id = follow::submit(&coordinator, &job, &notes) => id?,
        () = signals.next() => return Err(Interrupted.into()),
    };
    if args.detach {
        return print_line(&id);
    }
    notes.say(&format!("job {id}"));
    tokio::select! {
        outcome = follow::to_its_end(&coordinator, &id, &notes) => outcome?,
        () = signals.next() => {
            notes.say(&format!("job {id} goes on; `tutti cancel {id}` ends it, `tutti logs {id} --follow` shows its log"));
            return Err(Interrupted.into());
        }
    }
    follow::print_report(&coordinator, &id).await
}
