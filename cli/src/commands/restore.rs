//! `tutti restore`: a coordinator's folder from a backup.

use crate::exit::Usage;
use crate::local::sibling;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Make a coordinator's data directory of what `tutti backup` wrote. The coordinator must not run.
///
/// `tutti-coordinator restore` does the work. For a cluster of `tutti up`, the directory is .tutti/coordinator.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The backup.
    file: PathBuf,
    /// The directory to make; it must not hold a journal already.
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
}

/// Has the coordinator's own program restore, which knows the journal.
pub fn execute(args: &Args) -> Result<()> {
    if !args.file.is_file() {
        return Err(Usage(format!("there is no backup {}", args.file.display())).into());
    }
    let program = sibling("tutti-coordinator")?;
    let mut command = Command::new(&program);
    command.arg("restore").arg(&args.file).arg("--data-dir").arg(&args.data_dir);
    let status =
        command.status().with_context(|| format!("cannot start {}; `make build` makes it", program.display()))?;
    if !status.success() {
        bail!("{} was not restored", args.data_dir.display());
    }
    Ok(())
}
