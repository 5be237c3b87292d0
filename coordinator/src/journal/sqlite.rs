//! The journal in an SQLite file.

mod schema;

use super::encoded::{Encoded, check_same, lost_tail};
use super::{Entry, Journal, JournalError, PAGE, RULES, Recorded, Sequence, Snapshot};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::Path;

/// A journal in an SQLite file: write-ahead log, every commit synced to the disk.
///
/// A commit that fails is taken back by SQLite, in memory and in its log: the next one writes the same pages of the log
/// anew, and syncs them. So the same connection goes on after a full disk or a failed sync, without trusting what the
/// failed one may have left in the system's cache.
#[derive(Debug)]
pub struct SqliteJournal {
    name: String,
    connection: Connection,
}

impl SqliteJournal {
    /// Opens or makes the journal, checks that it is whole, and brings an older one up to date.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let name = path.display().to_string();
        let mut connection = Connection::open(path).map_err(|error| classify(&name, &error))?;
        schema::prepare(&name, &mut connection)?;
        Ok(Self { name, connection })
    }

    fn append_missing(&mut self, first: Sequence, wanted: &[Encoded]) -> Result<(), AppendError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if first > 1 && !holds(&transaction, first - 1)? {
            return Err(AppendError::Journal(lost_tail(&self.name, first)));
        }
        if insert(&transaction, first, wanted)? < wanted.len() {
            check_same(&self.name, first, wanted, &range(&transaction, first, wanted.len())?)
                .map_err(AppendError::Journal)?;
        }
        Ok(transaction.commit()?)
    }

    fn replace_oldest_snapshot(&mut self, snapshot: &Snapshot) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT OR REPLACE INTO snapshots (sequence, at_ms, digest, state) VALUES (?1, ?2, ?3, ?4)",
            params![snapshot.sequence as i64, snapshot.at as i64, snapshot.digest(), snapshot.state],
        )?;
        // With one snapshot there is no older one, and nothing is less than nothing.
        let older = "(SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT 1 OFFSET 1)";
        transaction.execute(&format!("DELETE FROM entries WHERE sequence <= {older}"), [])?;
        transaction.execute(&format!("DELETE FROM snapshots WHERE sequence < {older}"), [])?;
        transaction.commit()
    }

    fn page(&self, after: Sequence) -> rusqlite::Result<Vec<(i64, i64, Encoded)>> {
        let query =
            "SELECT sequence, rules, at_ms, command FROM entries WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
        let mut statement = self.connection.prepare_cached(query)?;
        let row =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, Encoded { at: row.get(2)?, command: row.get(3)? }));
        statement.query_map(params![after as i64, PAGE as i64], row)?.collect()
    }

    fn snapshot_before(&self, before: i64) -> rusqlite::Result<Option<(Snapshot, String)>> {
        let query = "SELECT sequence, at_ms, digest, state FROM snapshots WHERE sequence < ?1 \
                     ORDER BY sequence DESC LIMIT 1";
        let row = |row: &rusqlite::Row<'_>| {
            let (sequence, at): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((Snapshot { sequence: sequence as Sequence, at: at as u64, state: row.get(3)? }, row.get(2)?))
        };
        self.connection.query_row(query, [before], row).optional()
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, first: Sequence, entries: &[Entry]) -> Result<(), JournalError> {
        let wanted: Vec<_> = entries.iter().map(Encoded::from).collect();
        self.append_missing(first, &wanted).map_err(|error| match error {
            AppendError::Journal(error) => error,
            AppendError::Sqlite(error) => classify(&self.name, &error),
        })
    }

    fn read(&mut self, after: Sequence) -> Result<Vec<Recorded>, JournalError> {
        let rows = self.page(after).map_err(|error| classify(&self.name, &error))?;
        rows.into_iter().map(|(sequence, rules, encoded)| encoded.decode(&self.name, sequence, rules)).collect()
    }

    fn keep_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), JournalError> {
        self.replace_oldest_snapshot(snapshot).map_err(|error| classify(&self.name, &error))
    }

    fn newest_snapshot(&mut self, before: Sequence) -> Result<Option<Snapshot>, JournalError> {
        let mut before = i64::try_from(before).unwrap_or(i64::MAX);
        while let Some((snapshot, digest)) =
            self.snapshot_before(before).map_err(|error| classify(&self.name, &error))?
        {
            before = snapshot.sequence as i64;
            match snapshot.verified(&digest) {
                Some(snapshot) => return Ok(Some(snapshot)),
                None => {
                    tracing::warn!(sequence = before, "a snapshot of the state is damaged; the one before it is used")
                }
            }
        }
        Ok(None)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Why an append failed: SQLite's errors are classified last, because a transaction borrows the connection until then.
enum AppendError {
    Sqlite(rusqlite::Error),
    Journal(JournalError),
}

impl From<rusqlite::Error> for AppendError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn holds(transaction: &Transaction<'_>, sequence: Sequence) -> rusqlite::Result<bool> {
    transaction.prepare_cached("SELECT 1 FROM entries WHERE sequence = ?1")?.exists([sequence as i64])
}

/// Writes what is not there yet, and says how many that were.
fn insert(transaction: &Transaction<'_>, first: Sequence, wanted: &[Encoded]) -> rusqlite::Result<usize> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO entries (sequence, rules, at_ms, command) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut written = 0;
    for (sequence, Encoded { at, command }) in (first as i64..).zip(wanted) {
        written += insert.execute(params![sequence, RULES, at, command])?;
    }
    Ok(written)
}

fn range(transaction: &Transaction<'_>, first: Sequence, count: usize) -> rusqlite::Result<Vec<Encoded>> {
    let query = "SELECT at_ms, command FROM entries WHERE sequence >= ?1 AND sequence < ?1 + ?2 ORDER BY sequence";
    let mut statement = transaction.prepare(query)?;
    let row = |row: &rusqlite::Row<'_>| Ok(Encoded { at: row.get(0)?, command: row.get(1)? });
    statement.query_map(params![first as i64, count as i64], row)?.collect()
}

fn classify(journal: &str, error: &rusqlite::Error) -> JournalError {
    let (journal, detail) = (journal.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Locked(journal),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => JournalError::Damaged { journal, detail },
        _ => JournalError::Failed { journal, detail, remedy: "check its disk, its free space and its permissions" },
    }
}
