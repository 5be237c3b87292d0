//! From start to stop.

use crate::crew::Engines;
use crate::endpoint::dial;
use crate::engine::EngineError;
use crate::gate::Gate;
use crate::keeper::{self, Parts, Refused};
use crate::options::Config;
use crate::outbox::Outbox;
use crate::scratch::{DataDir, DataDirError};
use crate::transfer::{Cache, Transfer};
use artifacts::{Location, Scratch, Store, StoreError};
use std::ffi::OsString;
use std::future::Future;
use std::pin::pin;

/// Why a worker ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its cache cannot be used.
    #[error("cannot open the cache: {0}")]
    Cache(std::io::Error),
    /// The store cannot be used as it is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its engine cannot be started.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The coordinator will not have it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Works for the coordinator until `shutdown`, and calls `joined` when it is first welcomed.
///
/// # Errors
/// When this host cannot do the work, or the coordinator will not have it. A coordinator that is not there is waited for.
pub async fn run(config: Config, joined: impl FnOnce(), shutdown: impl Future<Output = ()>) -> Result<(), WorkerError> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let cache = Cache::open(data_dir.cache(), config.cache_bytes).map_err(WorkerError::Cache)?;
    let (gate, outbox) = (Gate::shut(), Outbox::default());
    let transfer = match &config.artifacts {
        None => Transfer::by_coordinator(&config.coordinators[0], gate.clone(), cache),
        Some(location) => Transfer::by_store(open_store(location, &data_dir).await?, gate.clone(), cache),
    };
    let mut shutdown = pin!(shutdown);
    let scratch = data_dir.scratch();
    let crew = tokio::select! {
        crew = Engines::start(&config, &outbox, &transfer, &scratch) => crew?,
        () = shutdown.as_mut() => return Ok(()),
    };
    let parts = Parts { crew, outbox, gate, dial };
    Ok(keeper::keep(&config, parts, joined, shutdown).await?)
}

/// The store that this worker was told of. It averages nothing, so that nothing is ever put into the store's scratch.
async fn open_store(location: &Location, data_dir: &DataDir) -> Result<Store, StoreError> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let environment: Vec<_> = std::env::vars_os().filter_map(text).collect();
    Store::join(location, Scratch::in_folder(data_dir.scratch().join("store"), 0), environment).await
}
