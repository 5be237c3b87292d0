//! What the store costs above its medium: a file of 256 MB into a folder and out of it, against copying and hashing it by
//! hand with the same syncs, and the same through a real S3 server in this process. Prints medians of five with their
//! extremes, in MB/s.
//!
//! `cargo bench --profile release -p artifacts --bench throughput`

#![allow(clippy::unwrap_used)]

#[path = "../tests/store/bench.rs"]
#[allow(dead_code)]
mod bench;
#[path = "../tests/store/server.rs"]
#[allow(dead_code)]
mod server;

use artifacts::{Store, measure};
use ensemble::run::Artifact;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Instant;

const BYTES: usize = 256_000_000;
const REPEATS: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    fs::write(&there, bench::content(1, BYTES))?;
    let artifact = measure(&mut File::open(&there)?)?;
    let (local, remote) = (bench::Bench::folder().await, bench::Bench::s3().await);
    let mut rows =
        [("by hand", vec![]), ("folder put", vec![]), ("folder get", vec![]), ("s3 put", vec![]), ("s3 get", vec![])];
    for _ in 0..REPEATS {
        rows[0].1.push(timed(async { by_hand(&there, &back) }).await?);
        for (index, store) in [(1, &local.store), (3, &remote.store)] {
            rows[index].1.push(timed(put(store, &there)).await?);
            rows[index + 1].1.push(timed(get(store, &artifact, &back)).await?);
        }
    }
    for (name, mut speeds) in rows {
        speeds.sort_by(f64::total_cmp);
        println!(
            "{name:10} {:6.0} MB/s [{:.0}, {:.0}], n = {REPEATS}",
            speeds[REPEATS / 2],
            speeds[0],
            speeds[REPEATS - 1]
        );
    }
    Ok(())
}

async fn timed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
    let begin = Instant::now();
    work.await?;
    Ok(BYTES as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

/// One pass that hashes, one that copies, and a sync: what storing a file takes at least.
fn by_hand(from: &Path, to: &Path) -> anyhow::Result<()> {
    measure(&mut File::open(from)?)?;
    let mut copy = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    Ok(copy.sync_all()?)
}

async fn put(store: &Store, file: &Path) -> anyhow::Result<()> {
    store.put_file(file).await?;
    Ok(())
}

async fn get(store: &Store, artifact: &Artifact, to: &Path) -> anyhow::Result<()> {
    store.fetch_file(&artifact.digest, to).await?;
    Ok(())
}
