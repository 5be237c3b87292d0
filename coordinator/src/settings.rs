//! What a coordinator is told at its start.

use ensemble::cluster;
use std::path::PathBuf;

/// How a coordinator runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its state lies. One coordinator at a time.
    pub data_dir: PathBuf,
    /// How often workers say that they are alive, in milliseconds.
    pub heartbeat_ms: u64,
    /// How the cluster judges workers and tasks.
    pub cluster: cluster::Settings,
}

/// Settings that cannot work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease of {lease_ms} ms does not outlast two heartbeats of {heartbeat_ms} ms; make it longer, or beat more often"
)]
pub struct LeaseTooShort {
    /// The lease.
    pub lease_ms: u64,
    /// The heartbeat.
    pub heartbeat_ms: u64,
}

impl Settings {
    /// The defaults, in a folder.
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, heartbeat_ms: 2_000, cluster: cluster::Settings::default() }
    }

    /// Whether a worker whose heartbeat is late once keeps its leases.
    pub fn check(&self) -> Result<(), LeaseTooShort> {
        let Self { heartbeat_ms, cluster: cluster::Settings { lease_ms, .. }, .. } = *self;
        let fits = heartbeat_ms > 0 && lease_ms / 2 > heartbeat_ms;
        if fits { Ok(()) } else { Err(LeaseTooShort { lease_ms, heartbeat_ms }) }
    }
}
