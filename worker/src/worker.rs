//! From start to stop.

use crate::crew::Crew;
use crate::engine::EngineError;
use crate::options::Config;
use crate::scratch::{DataDir, DataDirError};
use crate::session::{self, Refused};
use crate::transfer::{Cache, Transfer};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tonic::transport::Endpoint;

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A connection on which nothing is heard for so long is asked whether it is still there …
const PING_AFTER: Duration = Duration::from_secs(2);
/// … and is given up when it does not answer within this time.
const PONG_WITHIN: Duration = Duration::from_secs(8);

/// Why a worker ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its cache cannot be used.
    #[error("cannot open the cache: {0}")]
    Cache(std::io::Error),
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
    let endpoint = endpoint(&config);
    let cache = Cache::open(data_dir.cache(), config.cache_bytes).map_err(WorkerError::Cache)?;
    let transfer = Transfer::new(endpoint.connect_lazy(), cache);
    let mut shutdown = pin!(shutdown);
    let scratch = data_dir.scratch();
    let mut crew = tokio::select! {
        crew = Crew::start(&config, &transfer, &scratch) => crew?,
        () = shutdown.as_mut() => return Ok(()),
    };
    let ended = session::run(&endpoint, &config, &mut crew, joined, shutdown).await;
    crew.close().await;
    Ok(ended?)
}

fn endpoint(config: &Config) -> Endpoint {
    Endpoint::from(config.coordinator.clone())
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
}
