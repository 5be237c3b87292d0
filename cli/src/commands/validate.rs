//! `tutti validate`: checks job files without a cluster.

use crate::job_file;
use crate::output::print_line;
use anyhow::Result;
use ensemble::job::{Job, Override};
use std::path::PathBuf;

/// Check job files; no cluster is needed.
///
/// Keys, types and values are checked, and the data's headers too where they can be read on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job files.
    #[arg(value_name = "JOB.yaml", required = true)]
    files: Vec<PathBuf>,
    /// Change a value of the job file, as in train.epochs=3. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
}

/// Checks the files in order, up to the first that is wrong.
pub fn execute(args: &Args) -> Result<()> {
    for file in &args.files {
        let job = job_file::read(file, &args.overrides)?;
        print_line(&format!("{}: valid; {}", file.display(), summary(&job)))?;
    }
    Ok(())
}

fn summary(job: &Job) -> String {
    let members: u32 = job.members.iter().map(|source| source.count()).sum();
    let served = if job.serve.is_some() { "served" } else { "not served" };
    format!("{members} members, {} averages, {served}", job.average.len())
}
