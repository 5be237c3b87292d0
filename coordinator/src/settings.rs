//! What a coordinator is told at its start.

use crate::driver::Place;
use crate::journal::postgres::Database;
use artifacts::Location;
use ensemble::cluster;
use std::path::PathBuf;
use std::time::Duration;

/// How long what is stored may be needed although nothing refers to it yet: longer than any upload and any absence of a
/// worker that is waited for.
const ARTIFACT_AGE_MIN: Duration = Duration::from_secs(3600);

/// How often garbage is collected.
const COLLECT_EVERY: Duration = Duration::from_secs(3600);

/// How much of an object store may be at hand in files at once: an average of a hundred models of 600 MB fits.
const SCRATCH_BYTES_MAX: u64 = 64 << 30;

/// How a coordinator runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its state lies. One coordinator at a time.
    pub data_dir: PathBuf,
    /// Where the journal is, if not in that folder. Coordinators that share it take turns.
    pub database: Option<Database>,
    /// Where artifacts lie; in the data folder if this says nothing else.
    pub artifacts: Option<Location>,
    /// What was stored more recently is no garbage yet.
    pub artifact_age_min: Duration,
    /// How often garbage is collected.
    pub collect_every: Duration,
    /// How much of an object store may lie in the data folder at once, while it is averaged.
    pub scratch_bytes_max: u64,
    /// How long a coordinator that is told to stop may take to end.
    pub drain: Duration,
    /// Where the driver runs.
    pub driver: Place,
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
        Self {
            data_dir,
            database: None,
            artifacts: None,
            artifact_age_min: ARTIFACT_AGE_MIN,
            collect_every: COLLECT_EVERY,
            scratch_bytes_max: SCRATCH_BYTES_MAX,
            drain: Duration::from_secs(10),
            driver: Place::default(),
            heartbeat_ms: 2_000,
            cluster: cluster::Settings::default(),
        }
    }

    /// Whether a worker whose heartbeat is late once keeps its leases.
    pub fn check(&self) -> Result<(), LeaseTooShort> {
        let Self { heartbeat_ms, cluster: cluster::Settings { lease_ms, .. }, .. } = *self;
        let fits = heartbeat_ms > 0 && lease_ms / 2 > heartbeat_ms;
        if fits { Ok(()) } else { Err(LeaseTooShort { lease_ms, heartbeat_ms }) }
    }
}
