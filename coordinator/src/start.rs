//! From a folder to a running coordinator, and from there to its end.

use crate::clock::Clock;
use crate::collection::{Claims, Collector, collect_forever};
use crate::compute::Compute;
use crate::data_dir::{DataDir, DataDirError};
use crate::driver::{self, Stopped, replay};
use crate::effects::{self, Actor};
use crate::journal::{Journal, JournalError, SqliteJournal};
use crate::logs::Logs;
use crate::progress::ProgressBoard;
use crate::server::ServerError;
use crate::serving::Gateway;
use crate::sessions::Sessions;
use crate::settings::{LeaseTooShort, Settings};
use crate::{Shared, server};
use artifacts::{Location, Scratch, Store, StoreError};
use ensemble::cluster::{Cluster, Command, LeaveReason};
use ensemble::view::Phase;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long open requests may take to end once the coordinator stops. Then they are cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the logs and the driver may take to finish what they were asked.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// A coordinator that has its state back and is ready to listen.
#[derive(Debug)]
pub struct Coordinator {
    shared: Shared,
    driver_ended: oneshot::Receiver<Result<(), JournalError>>,
    /// Held until the end, so that no other coordinator takes the folder.
    _data_dir: DataDir,
}

/// Why a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] LeaseTooShort),
    /// The folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// It ended before it had begun.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a running coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal failed. What was not in it was not promised to anybody.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The driver's thread died.
    #[error("the coordinator's driver ended unexpectedly; its log says why")]
    DriverLost,
    /// The server failed.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] ServerError),
}

impl Coordinator {
    /// Takes the data folder, replays the journal, and takes up what was left undone.
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        settings.check()?;
        let data_dir = DataDir::open(&settings.data_dir)?;
        let location = settings.artifacts.clone().unwrap_or_else(|| Location::Folder(data_dir.artifacts()));
        let scratch = Scratch::in_folder(data_dir.scratch(), settings.scratch_bytes_max);
        let store = Store::open(&location, scratch).await?;
        let logs = Logs::open(data_dir.logs())?;
        let mut journal = SqliteJournal::open(&data_dir.journal())?;
        let restored = replay(settings.cluster, &mut journal)?;
        tracing::info!(entries = restored.entries, "journal replayed");
        let parts = Parts { settings, store, logs, journal: Box::new(journal) };
        let (shared, actor, driver_ended) = parts.assemble(restored)?;
        take_up(&shared, actor).await?;
        Ok(Self { shared, driver_ended, _data_dir: data_dir })
    }

    /// What its services share, for who embeds it.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Serves until `shutdown`, then ends within a bounded time.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { shared, mut driver_ended, _data_dir } = self;
        let mut serving = tokio::spawn(server::serve(listener, shared.clone()));
        let early = tokio::select! {
            () = shutdown => None,
            ended = &mut driver_ended => Some(driver_end(ended)),
            served = &mut serving => Some(served.map_err(ServerError::from).flatten().map_err(RunError::from)),
        };
        if let Some(end) = early {
            shared.stopping.cancel();
            return end;
        }
        tracing::info!("stopping");
        shared.stopping.cancel();
        shared.sessions.end_all();
        if timeout(DRAIN_TIMEOUT, &mut serving).await.is_err() {
            tracing::warn!("requests are cut that did not end in time");
            serving.abort();
        }
        let flush = async {
            shared.logs.flush().await;
            shared.driver.stop().await;
            driver_ended.await
        };
        timeout(FLUSH_TIMEOUT, flush).await.map_or(Err(RunError::DriverLost), driver_end)
    }
}

fn driver_end(ended: Result<Result<(), JournalError>, oneshot::error::RecvError>) -> Result<(), RunError> {
    ended.map_err(|_| RunError::DriverLost)?.map_err(RunError::from)
}

/// What the folder gave.
struct Parts {
    settings: Settings,
    store: Store,
    logs: Logs,
    journal: Box<dyn Journal>,
}

type Assembled = (Shared, Actor, oneshot::Receiver<Result<(), JournalError>>);

impl Parts {
    fn assemble(self, restored: driver::Restored) -> io::Result<Assembled> {
        let Self { settings, store, logs, journal } = self;
        let (sessions, compute, claims) = (Sessions::default(), Compute::new(), Claims::default());
        let gateway = Gateway::start(sessions.clone());
        let actor = |driver: &driver::Handle| Actor {
            driver: driver.clone(),
            store: store.clone(),
            claims: claims.clone(),
            sessions: sessions.clone(),
            gateway: gateway.clone(),
            logs: logs.clone(),
            compute: compute.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let clock = Clock::not_before(restored.last);
        let (driver, ended) = driver::spawn(restored.cluster, clock, journal, |driver| Box::new(actor(driver)))?;
        let actor = actor(&driver);
        let (settings, progress, stopping) = (Arc::new(settings), ProgressBoard::new(), CancellationToken::new());
        let collector = Collector::new(store.clone(), driver.clone(), claims.clone(), settings.artifact_age_min);
        tokio::spawn(collect_forever(collector.clone(), settings.collect_every));
        let shared =
            Shared { driver, store, claims, collector, sessions, gateway, progress, logs, compute, settings, stopping };
        Ok((shared, actor, ended))
    }
}

/// Goes on where the last process ended: its sessions are over, its averages and reports are begun again, and what was
/// served is served again.
async fn take_up(shared: &Shared, mut actor: Actor) -> Result<(), Stopped> {
    let workers = shared.driver.inspect(Cluster::workers).await?;
    for worker in workers.into_iter().filter(|worker| worker.connected) {
        let leave = Command::Leave { worker: worker.id, reason: LeaveReason::Disconnected };
        // A rejection would mean that the worker has left: which is what is wanted.
        let _ = shared.driver.apply(leave).await;
    }
    for effect in shared.driver.inspect(Cluster::outstanding).await? {
        driver::Act::act(&mut actor, effect);
    }
    let jobs = shared.driver.inspect(Cluster::jobs).await?;
    for job in jobs.into_iter().filter(|job| job.served && job.phase == Phase::Done) {
        tokio::spawn(effects::serve(actor.clone(), job.id));
    }
    Ok(())
}
