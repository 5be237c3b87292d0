//! `soak`: chaos for as long as one likes. A seed gives the order of the faults; the moments are the machine's.
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use tests::chaos::{Amount, Keeping, chaos};

/// Chaos that goes on: real processes on real data, every fault that we know.
#[derive(clap::Parser)]
struct Flags {
    /// How long faults are inflicted.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// What the order of the faults is drawn from [default: drawn and printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Keep artifacts on an S3 server, which is disturbed as well.
    #[arg(long)]
    bucket: bool,
}

fn main() {
    let flags = <Flags as clap::Parser>::parse();
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let keeping = if flags.bucket { Keeping::Bucket } else { Keeping::Folder };
    println!("{}", chaos(keeping, seed, Amount::Time(Duration::from_secs(60 * flags.minutes))));
}
