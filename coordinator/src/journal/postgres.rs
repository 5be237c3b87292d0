//! The journal in a PostgreSQL database, which several coordinators may share: one of them leads.
//!
//! Every write carries the epoch of its writer and takes effect only while that epoch is the leader's: one statement, one
//! transaction, so that neither a coordinator that was paused nor one that is cut off can write between another's entries
//! or hold a lock while it sleeps. See [`leader`].

mod connection;
mod database;
pub mod leader;
mod schema;
mod tenure;
mod tls;

pub use database::{Database, DatabaseError};
pub use leader::{Candidate, Leadership};
pub use tenure::Tenure;

use super::encoded::{Encoded, check_same, lost_tail};
use super::{Entry, Journal, JournalError, PAGE, RULES, Recorded, Sequence, Snapshot};
use connection::{Connection, LONG_ANSWER_TIMEOUT};
use tokio_postgres::Row;

/// Locks the leader's epoch against a takeover until the statement ends; nothing is written if it is another's by now.
/// A renewal, which leaves the epoch alone, does not wait for this.
macro_rules! fenced {
    ($($statement:literal),+) => {
        concat!("WITH leader AS (SELECT epoch FROM tutti.leader WHERE epoch = $1 FOR KEY SHARE), ", $($statement),+)
    };
}

const APPEND: &str = fenced!(
    "before AS (SELECT WHERE $2::bigint = 1 OR EXISTS (SELECT FROM tutti.entries WHERE sequence = $2 - 1)), ",
    "written AS (INSERT INTO tutti.entries (sequence, epoch, rules, at_ms, command) ",
    "SELECT $2 + place - 1, leader.epoch, $3, at_ms, command ",
    "FROM leader, before, unnest($4::bigint[], $5::text[]) WITH ORDINALITY AS given (at_ms, command, place) ",
    "ON CONFLICT (sequence) DO NOTHING RETURNING sequence) ",
    "SELECT (SELECT count(*) FROM leader), (SELECT count(*) FROM before), (SELECT count(*) FROM written)"
);

const KEEP: &str = fenced!(
    "kept AS (INSERT INTO tutti.snapshots (sequence, epoch, at_ms, digest, state) ",
    "SELECT $2, leader.epoch, $3, $4, $5 FROM leader ON CONFLICT (sequence) DO UPDATE ",
    "SET epoch = excluded.epoch, at_ms = excluded.at_ms, digest = excluded.digest, state = excluded.state) ",
    "SELECT count(*) FROM leader"
);

/// With one snapshot there is no older one, and nothing is forgotten.
const FORGET: &str = fenced!(
    "older AS (SELECT sequence FROM tutti.snapshots ORDER BY sequence DESC LIMIT 1 OFFSET 1), ",
    "snapshots AS (DELETE FROM tutti.snapshots s USING leader, older WHERE s.sequence < older.sequence), ",
    "entries AS (DELETE FROM tutti.entries e USING leader, older WHERE e.sequence <= older.sequence) ",
    "SELECT count(*) FROM leader"
);

const RANGE: &str =
    "SELECT at_ms, command FROM tutti.entries WHERE sequence >= $1 AND sequence < $1 + $2 ORDER BY sequence";

const READ: &str =
    "SELECT sequence, rules, at_ms, command FROM tutti.entries WHERE sequence > $1 ORDER BY sequence LIMIT $2";

const SNAPSHOT: &str =
    "SELECT sequence, at_ms, digest, state FROM tutti.snapshots WHERE sequence < $1 ORDER BY sequence DESC LIMIT 1";

/// The journal of a coordinator that leads, as [`Candidate::lead`] gives it.
#[derive(Debug)]
pub struct PostgresJournal {
    connection: Connection,
    epoch: i64,
}

impl PostgresJournal {
    /// The epoch that this coordinator leads in.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    fn check_range(&mut self, first: Sequence, wanted: &[Encoded]) -> Result<(), JournalError> {
        let (from, count) = (first as i64, wanted.len() as i64);
        let rows = self.connection.run(async |live| live.query(RANGE, &[&from, &count]).await)?;
        let found: Vec<_> = rows.iter().map(|row| Encoded { at: row.get(0), command: row.get(1) }).collect();
        check_same(self.connection.name(), first, wanted, &found)
    }

    /// Somebody else leads: who?
    fn deposed(&mut self) -> JournalError {
        leader::deposed(&mut self.connection)
    }
}

impl Journal for PostgresJournal {
    fn append(&mut self, first: Sequence, entries: &[Entry]) -> Result<(), JournalError> {
        let wanted: Vec<_> = entries.iter().map(Encoded::from).collect();
        let times: Vec<i64> = wanted.iter().map(|entry| entry.at).collect();
        let commands: Vec<&str> = wanted.iter().map(|entry| entry.command.as_str()).collect();
        let (epoch, from, rules) = (self.epoch, first as i64, RULES as i32);
        let row = self
            .connection
            .run(async |live| live.query_one(APPEND, &[&epoch, &from, &rules, &times, &commands]).await)?;
        match counts(&row) {
            [0, ..] => Err(self.deposed()),
            [_, 0, _] => Err(lost_tail(self.connection.name(), first)),
            [.., written] if (written as usize) < wanted.len() => self.check_range(first, &wanted),
            _ => Ok(()),
        }
    }

    fn read(&mut self, after: Sequence) -> Result<Vec<Recorded>, JournalError> {
        let (after, page) = (after as i64, PAGE as i64);
        let rows = self.connection.run(async |live| live.query(READ, &[&after, &page]).await)?;
        let decode = |row: &Row| {
            let encoded = Encoded { at: row.get(2), command: row.get(3) };
            encoded.decode(self.connection.name(), row.get(0), row.get::<_, i32>(1).into())
        };
        rows.iter().map(decode).collect()
    }

    fn keep_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), JournalError> {
        let (epoch, sequence, at) = (self.epoch, snapshot.sequence as i64, snapshot.at as i64);
        let (digest, state) = (snapshot.digest(), &snapshot.state);
        let work = async |live: &mut connection::Live| {
            let kept = live.query_one(KEEP, &[&epoch, &sequence, &at, &digest, state]).await?;
            let forgot = live.query_one(FORGET, &[&epoch]).await?;
            Ok(kept.get::<_, i64>(0) == 1 && forgot.get::<_, i64>(0) == 1)
        };
        let leads = self.connection.run_within(LONG_ANSWER_TIMEOUT, work)?;
        if leads { Ok(()) } else { Err(self.deposed()) }
    }

    fn newest_snapshot(&mut self, before: Sequence) -> Result<Option<Snapshot>, JournalError> {
        let mut before = i64::try_from(before).unwrap_or(i64::MAX);
        loop {
            let work = async |live: &mut connection::Live| live.query(SNAPSHOT, &[&before]).await;
            let rows = self.connection.run_within(LONG_ANSWER_TIMEOUT, work)?;
            let Some(row) = rows.first() else { return Ok(None) };
            before = row.get(0);
            let at: i64 = row.get(1);
            let snapshot = Snapshot { sequence: before as Sequence, at: at as u64, state: row.get(3) };
            match snapshot.verified(row.get(2)) {
                Some(snapshot) => return Ok(Some(snapshot)),
                None => {
                    tracing::warn!(sequence = before, "a snapshot of the state is damaged; the one before it is used")
                }
            }
        }
    }

    fn name(&self) -> &str {
        self.connection.name()
    }
}

fn counts(row: &Row) -> [i64; 3] {
    [row.get(0), row.get(1), row.get(2)]
}
