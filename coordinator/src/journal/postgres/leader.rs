//! Who leads: one row in the database, with an epoch, a holder and the moment at which its lease ends.
//!
//! ```text
//!  candidate ── lease over? epoch + 1 ──▶ leader ── renews every second ──▶ …
//!                                           │  epoch is another's: deposed, at a write or at a renewal
//!                                           └  stops: gives the lease up, so that the next one need not wait
//! ```
//! All times are the database's, so that no two machines' clocks are ever compared. The lease only says when others may
//! try; what keeps a leader's writes apart from those of the one after it is the epoch, whoever is paused for how long.

use super::connection::Connection;
use super::tenure::Tenure;
use super::{Database, PostgresJournal, schema};
use crate::journal::JournalError;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a leader that says nothing more is waited for.
pub const LEASE: Duration = Duration::from_secs(4);

/// How often it says something: three may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// How often others look whether its lease is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const TAKE: &str = "UPDATE tutti.leader SET epoch = epoch + 1, holder = $1, \
     expires = clock_timestamp() + $2::bigint * interval '1 millisecond' \
     WHERE expires < clock_timestamp() OR holder = $1 RETURNING epoch";

const RENEW: &str = "UPDATE tutti.leader SET expires = clock_timestamp() + $2::bigint * interval '1 millisecond' \
     WHERE epoch = $1 RETURNING epoch";

const RESIGN: &str = "UPDATE tutti.leader SET expires = '-infinity' WHERE epoch = $1";

const WHO: &str = "SELECT epoch, holder FROM tutti.leader";

/// A coordinator that would lead.
#[derive(Debug)]
pub struct Candidate {
    database: Database,
    connection: Connection,
    holder: String,
}

/// What goes on beside the journal while a coordinator leads. Dropping it gives the lease up; that must come after the
/// journal's last write.
#[derive(Debug)]
pub struct Leadership {
    deposed: oneshot::Receiver<JournalError>,
    /// Dropped to stop the renewals.
    stop: Option<mpsc::Sender<()>>,
    renewals: Option<thread::JoinHandle<()>>,
    tenure: Tenure,
}

/// What a candidate hears while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For the end of another's lease: whose.
    ForLeader(String),
    /// For the database: what it says.
    ForDatabase(String),
}

impl Candidate {
    /// `holder` is a name that no other living coordinator has: a lease under the same name is one's own of an earlier
    /// life, which nobody needs to wait for.
    pub fn new(database: Database, holder: String) -> std::io::Result<Self> {
        Ok(Self { connection: Connection::new(database.clone())?, database, holder })
    }

    /// Waits until it leads. Says what it waits for whenever that changes, and gives up (none) when told so in return.
    pub fn lead(
        mut self,
        mut go_on: impl FnMut(Option<&Waiting>) -> bool,
    ) -> Result<Option<(PostgresJournal, Leadership)>, JournalError> {
        let mut before = None;
        let (epoch, tenure) = loop {
            let asked = Instant::now();
            let waiting = match self.take() {
                Ok(Ok(epoch)) => break (epoch, Tenure::until(asked + LEASE)),
                Ok(Err(leader)) => Waiting::ForLeader(leader),
                Err(error) if error.is_passing() => Waiting::ForDatabase(error.to_string()),
                Err(error) => return Err(error),
            };
            let news = (before.as_ref() != Some(&waiting)).then_some(&waiting);
            if !go_on(news) {
                return Ok(None);
            }
            before = Some(waiting);
            thread::sleep(LOOK_EVERY);
        };
        self.begin(epoch, tenure).map(Some)
    }

    /// Takes the epoch after the last one, if that one's lease is over; else says who leads.
    fn take(&mut self) -> Result<Result<i64, String>, JournalError> {
        schema::lay_ground(&mut self.connection)?;
        let (holder, lease) = (&self.holder, LEASE.as_millis() as i64);
        let taken = self.connection.run(async |live| live.query(TAKE, &[holder, &lease]).await)?;
        match taken.first() {
            Some(row) => Ok(Ok(row.get(0))),
            None => Ok(Err(who(&mut self.connection)?)),
        }
    }

    fn begin(mut self, epoch: i64, tenure: Tenure) -> Result<(PostgresJournal, Leadership), JournalError> {
        // First of all the renewals, because bringing the journal up to date may take a while.
        let leadership = Leadership::begin(self.database, epoch, tenure).map_err(|error| JournalError::Failed {
            journal: self.connection.name().to_owned(),
            detail: error.to_string(),
            remedy: "see why this machine gives no threads",
        })?;
        schema::migrate(&mut self.connection, epoch)?;
        Ok((PostgresJournal { connection: self.connection, epoch }, leadership))
    }
}

impl Leadership {
    fn begin(database: Database, epoch: i64, tenure: Tenure) -> std::io::Result<Self> {
        let (mut connection, renewed) = (Connection::new(database)?, tenure.clone());
        let (stop, stopped) = mpsc::channel();
        let (depose, deposed) = oneshot::channel();
        let renewals = thread::Builder::new().name("leader".into()).spawn(move || {
            if let Some(error) = renew_until_stopped(&mut connection, epoch, &renewed, &stopped) {
                // Nobody waits for it any more if this fails.
                let _ = depose.send(error);
            }
        })?;
        Ok(Self { deposed, stop: Some(stop), renewals: Some(renewals), tenure })
    }

    /// Until when the lead is sure.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Waits until another coordinator has taken over.
    pub async fn deposed(&mut self) -> JournalError {
        match (&mut self.deposed).await {
            Ok(error) => error,
            // The thread lives as long as this does, unless it was deposed.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(renewals) = self.renewals.take() {
            // A panic there has been told already.
            let _ = renewals.join();
        }
    }
}

/// Renews the lease. The error of the one who was deposed; none after a stop, which gives the lease up.
fn renew_until_stopped(
    connection: &mut Connection,
    epoch: i64,
    tenure: &Tenure,
    stop: &mpsc::Receiver<()>,
) -> Option<JournalError> {
    let lease = LEASE.as_millis() as i64;
    while stop.recv_timeout(RENEW_EVERY) == Err(RecvTimeoutError::Timeout) {
        let asked = Instant::now();
        match connection.run(async |live| live.query(RENEW, &[&epoch, &lease]).await) {
            Ok(rows) if rows.is_empty() => return Some(deposed(connection)),
            Ok(_) => tenure.renew(asked, LEASE),
            Err(error) => tracing::warn!(%error, "the lead could not be renewed"),
        }
    }
    if let Err(error) = connection.run(async |live| live.query(RESIGN, &[&epoch]).await) {
        tracing::warn!(%error, "the lead could not be given up; the next coordinator waits until it runs out");
    }
    None
}

/// SQL that fails where another epoch is the leader's, and else keeps it from changing until the transaction ends.
pub(super) fn fence(epoch: i64) -> String {
    format!(
        "DO $$ BEGIN PERFORM FROM tutti.leader WHERE epoch = {epoch} FOR KEY SHARE; \
         IF NOT FOUND THEN RAISE 'another coordinator has taken over'; END IF; END $$"
    )
}

/// What to say once the epoch is another's.
pub(super) fn deposed(connection: &mut Connection) -> JournalError {
    let leader = who(connection).unwrap_or_else(|_| "it does not say which".into());
    JournalError::Deposed { leader }
}

fn who(connection: &mut Connection) -> Result<String, JournalError> {
    let row = connection.run(async |live| live.query_one(WHO, &[]).await)?;
    let (epoch, holder): (i64, String) = (row.get(0), row.get(1));
    Ok(format!("{holder}, epoch {epoch}"))
}
