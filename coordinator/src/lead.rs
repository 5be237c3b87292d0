//! How a coordinator comes to its journal: by opening a file, or by waiting until it leads.

use crate::data_dir::DataDir;
use crate::driver::{Restored, replay};
use crate::journal::postgres::leader::Waiting;
use crate::journal::postgres::{Candidate, Database, Leadership, Tenure};
use crate::journal::{Journal, JournalError, PostgresJournal, SqliteJournal};
use crate::settings::Settings;
use crate::start::StartError;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long giving the lead up may take. After that the next coordinator waits until the lease runs out.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(2);

/// A journal that this coordinator alone writes, and what was in it.
pub(crate) struct Led {
    pub journal: Box<dyn Journal>,
    pub restored: Restored,
    pub lead: Lead,
}

/// What there is to watch while the journal is written.
#[derive(Debug)]
pub(crate) enum Lead {
    /// Nobody else can write: the folder is locked.
    Alone,
    /// Others stand by.
    Among(Leadership),
}

impl Lead {
    /// Waits until another coordinator has taken over.
    pub async fn lost(&mut self) -> JournalError {
        match self {
            Self::Alone => std::future::pending().await,
            Self::Among(leadership) => leadership.deposed().await,
        }
    }

    /// Until when the lead is sure.
    pub fn tenure(&self) -> Tenure {
        match self {
            Self::Alone => Tenure::endless(),
            Self::Among(leadership) => leadership.tenure(),
        }
    }

    /// Lets the next coordinator begin at once. The journal must have been closed.
    pub async fn resign(self) {
        if let Self::Among(leadership) = self {
            let resigned = tokio::task::spawn_blocking(move || drop(leadership));
            if timeout(RESIGN_TIMEOUT, resigned).await.is_err() {
                tracing::warn!("the lead was not given up in time; the next coordinator waits until it runs out");
            }
        }
    }
}

/// Opens the journal and replays it, on a thread that may block. Where others may lead, waits for its turn first, saying
/// so; whoever stops waiting for this stops the waiting.
pub(crate) async fn lead(
    settings: &Settings,
    data_dir: &DataDir,
    standing_by: impl FnMut(&Waiting) + Send + 'static,
) -> Result<Led, StartError> {
    let (cluster, database, path) = (settings.cluster, settings.database.clone(), data_dir.journal());
    let abandoned = CancellationToken::new();
    let (_abandon, go_on) = (abandoned.clone().drop_guard(), move || !abandoned.is_cancelled());
    let holder = database.is_some().then(|| data_dir.instance()).transpose()?;
    let open = move || {
        let (mut journal, lead): (Box<dyn Journal>, _) = match database.zip(holder) {
            None => (Box::new(SqliteJournal::open(&path)?), Lead::Alone),
            Some((database, holder)) => {
                let (journal, leadership) = wait_for_lead(database, holder, go_on, standing_by)?;
                (Box::new(journal), Lead::Among(leadership))
            }
        };
        let restored = replay(cluster, journal.as_mut())?;
        Ok(Led { journal, restored, lead })
    };
    tokio::task::spawn_blocking(open).await.map_err(|_| StartError::Stopped(crate::driver::Stopped))?
}

fn wait_for_lead(
    database: Database,
    holder: String,
    go_on: impl Fn() -> bool,
    mut standing_by: impl FnMut(&Waiting),
) -> Result<(PostgresJournal, Leadership), StartError> {
    let told = |waiting: Option<&Waiting>| {
        waiting.into_iter().for_each(&mut standing_by);
        go_on()
    };
    let led = Candidate::new(database, holder)?.lead(told)?;
    let (journal, leadership) = led.ok_or(StartError::Stopped(crate::driver::Stopped))?;
    tracing::info!(epoch = journal.epoch(), journal = journal.name(), "this coordinator leads");
    Ok((journal, leadership))
}
