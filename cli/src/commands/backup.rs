//! `tutti backup`: a copy of what the coordinator knows.

use crate::coordinator::{self, Address, Coordinator};
use crate::display::size;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use proto::v1::BackupRequest;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write the coordinator's journal, as it stands now, to a file. Training goes on meanwhile.
///
/// It has jobs, results and the names of all artifacts, and not the artifacts themselves: copy their store after this.
/// A journal in PostgreSQL is backed up with the tools of that server.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; it must not exist.
    file: PathBuf,
    #[command(flatten)]
    address: Address,
}

/// Receives the copy; the file exists whole or not at all.
pub async fn execute(args: Args) -> Result<()> {
    if args.file.exists() {
        bail!("{} exists already; choose another name, or move it away", args.file.display());
    }
    let coordinator = Coordinator::find(&args.address).await?;
    let part = part_of(&args.file);
    let received = receive(&coordinator, &part).await;
    let bytes = match received {
        Ok(bytes) => bytes,
        Err(error) => {
            // Half a copy is of no use. It may not exist.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
    };
    fs::rename(&part, &args.file).with_context(|| format!("cannot write {}", args.file.display()))?;
    print_line(&format!("{} of journal are in {}", size::bytes(bytes), args.file.display()))
}

/// Beside the file, so that renaming it is one step.
fn part_of(file: &Path) -> PathBuf {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

async fn receive(coordinator: &Coordinator, part: &Path) -> Result<u64> {
    let unwritable = || format!("cannot write {}", part.display());
    let mut chunks = coordinator.admin().backup(BackupRequest {}).await.map_err(coordinator::refused)?.into_inner();
    let mut file = File::create(part).with_context(unwritable)?;
    let mut bytes = 0;
    while let Some(chunk) = chunks.message().await.map_err(coordinator::refused)? {
        file.write_all(&chunk.data).with_context(unwritable)?;
        bytes += chunk.data.len() as u64;
    }
    file.sync_all().with_context(unwritable)?;
    Ok(bytes)
}
