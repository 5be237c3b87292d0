//! From a folder to a running coordinator, and from there to its end.

use crate::collection::{Claims, Collector, collect_forever};
use crate::compute::Compute;
use crate::data_dir::{DataDir, DataDirError};
use crate::driver::{self, Ended, Restored, Stopped};
use crate::effects::{self, Actor};
use crate::journal::JournalError;
use crate::journal::postgres::leader::Waiting;
use crate::lead::{Lead, Led, lead};
use crate::logs::Logs;
use crate::progress::ProgressBoard;
use crate::server::{Connection, ServerError};
use crate::serving::Gateway;
use crate::sessions::Sessions;
use crate::settings::{LeaseTooShort, Settings};
use crate::{Shared, backup, server};
use artifacts::{Location, Scratch, Store, StoreError};
use ensemble::cluster::{Cluster, Command};
use ensemble::view::Phase;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

/// Of the time that a coordinator has to end, what the logs and the driver may take to finish what they were asked.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a driver that is told to give up may take to notice.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// A coordinator that has its state back and is ready to listen.
#[derive(Debug)]
pub struct Coordinator {
    shared: Shared,
    driver_ended: Ended,
    /// Ends the driver although its journal is stalled.
    give_up: CancellationToken,
    lead: Lead,
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

impl StartError {
    /// Whether another coordinator has taken over while this one began.
    pub fn is_deposed(&self) -> bool {
        matches!(self, Self::Journal(JournalError::Deposed { .. }))
    }
}

/// Why a running coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal failed, or is another's. What was not in it was not promised to anybody.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal was stalled until the end.
    #[error("the journal could not be written before the end; what was not answered is not promised")]
    Unfinished,
    /// The driver's thread died.
    #[error("the coordinator's driver ended unexpectedly; its log says why")]
    DriverLost,
    /// The server failed.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] ServerError),
}

impl RunError {
    /// Whether another coordinator has taken over.
    pub fn is_deposed(&self) -> bool {
        matches!(self, Self::Journal(JournalError::Deposed { .. }))
    }
}

impl Coordinator {
    /// Takes the data folder, replays the journal, and takes up what was left undone.
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        Self::open_or_stand_by(settings, |_| ()).await
    }

    /// The same, where another coordinator may lead: waits until it does not, telling what it waits for.
    pub async fn open_or_stand_by(
        settings: Settings,
        standing_by: impl FnMut(&Waiting) + Send + 'static,
    ) -> Result<Self, StartError> {
        settings.check()?;
        let data_dir = DataDir::open(&settings.data_dir)?;
        let location = settings.artifacts.clone().unwrap_or_else(|| Location::Folder(data_dir.artifacts()));
        let scratch = Scratch::in_folder(data_dir.scratch(), settings.scratch_bytes_max);
        let store = Store::open(&location, scratch).await?;
        let logs = Logs::open(data_dir.logs())?;
        let led = lead(&settings, &data_dir, standing_by).await?;
        led.tell();
        let backup = match &settings.database {
            None => backup::Source::Embedded(data_dir.journal()),
            Some(_) => backup::Source::Database,
        };
        Parts { settings, store, logs, backup }.begin(led, data_dir).await
    }

    /// What its services share, for who embeds it.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Serves until `shutdown`, then ends within the time that the settings allow. Ends by itself if the journal is lost.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        self.run_on(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown).await
    }

    /// As [`Coordinator::run`], on connections that come from anywhere.
    pub async fn run_on<IO: Connection>(
        mut self,
        incoming: impl Stream<Item = io::Result<IO>> + Send + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let mut serving = tokio::spawn(server::serve(incoming, self.shared.clone()));
        let early = tokio::select! {
            () = shutdown => None,
            ended = &mut self.driver_ended => Some(driver_end(ended)),
            deposed = self.lead.lost() => Some(Err(deposed.into())),
            served = &mut serving => Some(served.map_err(ServerError::from).flatten().map_err(RunError::from)),
        };
        self.shared.stopping.cancel();
        match early {
            Some(end) => end,
            None => self.stop(serving).await,
        }
    }

    /// Lets requests end, then writes down what was asked. What does not end in time is cut: it was not answered.
    async fn stop(self, mut serving: JoinHandle<Result<(), ServerError>>) -> Result<(), RunError> {
        let Self { shared, mut driver_ended, give_up, lead, _data_dir } = self;
        tracing::info!("stopping");
        let deadline = Instant::now() + shared.settings.drain;
        let flush_from = deadline - FLUSH_TIMEOUT.min(shared.settings.drain / 2);
        shared.sessions.end_all();
        if timeout_at(flush_from, &mut serving).await.is_err() {
            tracing::warn!("requests are cut that did not end in time");
            serving.abort();
        }
        let flush = async {
            shared.logs.flush().await;
            shared.driver.stop().await;
            (&mut driver_ended).await
        };
        let end = match timeout_at(deadline, flush).await {
            Ok(ended) => driver_end(ended),
            Err(_) => {
                // What the driver holds back was neither answered nor acted on.
                give_up.cancel();
                timeout(GIVE_UP_TIMEOUT, driver_ended).await.map_or(Err(RunError::Unfinished), driver_end)
            }
        };
        lead.resign().await;
        end
    }
}

fn driver_end(ended: Result<Result<(), JournalError>, RecvError>) -> Result<(), RunError> {
    ended.map_err(|_| RunError::DriverLost)?.map_err(RunError::from)
}

impl Led {
    fn tell(&self) {
        let Restored { sequence, replayed, skipped, .. } = self.restored;
        tracing::info!(journal = self.journal.name(), entries = sequence, replayed, "journal replayed");
        if skipped > 0 {
            tracing::warn!(skipped, "an older version's entries do not count any more; what they did is done again");
        }
    }
}

/// What the folder gave.
struct Parts {
    settings: Settings,
    store: Store,
    logs: Logs,
    backup: backup::Source,
}

impl Parts {
    /// Starts the driver, and takes up what was left undone.
    async fn begin(self, led: Led, data_dir: DataDir) -> Result<Coordinator, StartError> {
        let Led { journal, restored, lead } = led;
        let give_up = CancellationToken::new();
        let (sessions, compute, claims) = (Sessions::default(), Compute::new(), Claims::default());
        let (gateway, runtime) = (Gateway::start(sessions.clone()), tokio::runtime::Handle::current());
        let Self { settings, store, logs, backup } = self;
        let actor = |driver: &driver::Handle| Actor {
            driver: driver.clone(),
            store: store.clone(),
            claims: claims.clone(),
            sessions: sessions.clone(),
            gateway: gateway.clone(),
            logs: logs.clone(),
            compute: compute.clone(),
            runtime,
        };
        let mut taking_up = None;
        let (driver, driver_ended) = driver::spawn(settings.driver, restored, journal, give_up.clone(), |driver| {
            Box::new(taking_up.insert(actor(driver)).clone())
        })?;
        let (settings, progress, stopping) = (Arc::new(settings), ProgressBoard::new(), CancellationToken::new());
        let collector =
            Collector::new(store.clone(), driver.clone(), claims.clone(), lead.tenure(), settings.artifact_age_min);
        tokio::spawn(collect_forever(collector.clone(), settings.collect_every));
        let shared = Shared {
            driver,
            store,
            claims,
            collector,
            sessions,
            gateway,
            progress,
            logs,
            compute,
            settings,
            backup,
            tenure: lead.tenure(),
            stopping,
        };
        if let Some(actor) = taking_up {
            take_up(&shared, actor).await?;
        }
        Ok(Coordinator { shared, driver_ended, give_up, lead, _data_dir: data_dir })
    }
}

/// Goes on where the last process ended: its sessions are over, its averages and reports are begun again, and what was
/// served is served again.
async fn take_up(shared: &Shared, mut actor: Actor) -> Result<(), StartError> {
    // Nobody can be blamed for silence while there was nobody to hear: leases are counted from now on.
    shared.driver.apply(Command::Resume { sessions_ended: true }).await.map_err(|_| Stopped)?;
    for effect in shared.driver.inspect(Cluster::outstanding).await? {
        driver::Act::act(&mut actor, effect);
    }
    let jobs = shared.driver.inspect(Cluster::jobs).await?;
    for job in jobs.into_iter().filter(|job| job.served && job.phase == Phase::Done) {
        tokio::spawn(effects::serve(actor.clone(), job.id));
    }
    Ok(())
}
