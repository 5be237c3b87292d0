//! The coordinator: the shell around the pure core of `ensemble`. It holds the cluster's journal, the artifact store and the
//! workers' sessions, averages and combines, and serves. It never links libtorch.
//!
//! ```text
//!  gRPC ─▶ services ─▶ driver (one thread: Cluster, journal) ─▶ effects ─▶ sessions ─▶ workers
//!              │                                                   └─▶ averaging, combining
//!              ├─▶ store (artifacts)                                          │
//!              └─▶ serving (gateway) ◀────────────────────────────────────────┘
//! ```

pub mod averaging;
pub mod backup;
pub mod clock;
pub mod collection;
pub mod combining;
pub mod compute;
pub mod data_dir;
pub mod driver;
pub mod effects;
pub mod journal;
mod lead;
pub mod listen;
pub mod logs;
pub mod patience;
pub mod progress;
mod server;
pub mod services;
pub mod serving;
pub mod sessions;
mod settings;
mod start;

pub use server::{Connection, ServerError};
pub use settings::{LeaseTooShort, Settings};
pub use start::{Coordinator, RunError, StartError};

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The version of this program, which a worker's must equal.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the services share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The one owner of the cluster.
    pub driver: driver::Handle,
    /// The artifacts.
    pub store: artifacts::Store,
    /// Who stores or commits which artifact at this moment.
    pub claims: collection::Claims,
    /// Removes the artifacts that nothing refers to.
    pub collector: collection::Collector,
    /// The connected workers.
    pub sessions: sessions::Sessions,
    /// The served ensembles.
    pub gateway: serving::Gateway,
    /// How far each run is.
    pub progress: progress::ProgressBoard,
    /// The jobs' logs.
    pub logs: logs::Logs,
    /// Where heavy work is done.
    pub compute: compute::Compute,
    /// What the coordinator was told at its start.
    pub settings: Arc<Settings>,
    /// Where backups of the journal come from.
    pub backup: backup::Source,
    /// Until when it surely leads.
    pub tenure: journal::postgres::Tenure,
    /// Cancelled once the coordinator stops: streams end then.
    pub stopping: CancellationToken,
}
