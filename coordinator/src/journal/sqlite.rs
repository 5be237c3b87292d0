//! The journal in an SQLite file.

use super::{Entry, Journal, JournalError, ReplayError};
use rusqlite::{Connection, ErrorCode, params};
use std::path::{Path, PathBuf};

/// The statements that lead from each schema version to the next; the version is how many have been run. A journal of
/// an earlier version is brought up to date when it is opened.
const MIGRATIONS: &[&str] =
    &["CREATE TABLE entries (sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, command TEXT NOT NULL) STRICT"];

/// Marks the file as ours, so that no other database is taken for a journal: "tuti".
const APPLICATION_ID: i64 = 0x7475_7469;

/// A journal in an SQLite file: write-ahead log, every commit synced to the disk.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    connection: Connection,
}

impl SqliteJournal {
    /// Opens or makes the journal, checks that it is whole, and brings an older one up to date.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let classify = |error| classify(path, &error);
        let mut connection = Connection::open(path).map_err(classify)?;
        prepare(&connection).map_err(classify)?;
        check_whole(path, &connection)?;
        migrate(path, &mut connection)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    fn append_all(&mut self, entries: &[Entry]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO entries (at_ms, command) VALUES (?1, ?2)")?;
            for entry in entries {
                let command = serde_json::to_string(&entry.command).expect("commands are maps with string keys");
                insert.execute(params![entry.at as i64, command])?;
            }
        }
        transaction.commit()
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.append_all(entries).map_err(|error| classify(&self.path, &error))
    }

    fn replay(&mut self, each: &mut dyn FnMut(Entry) -> Result<(), ReplayError>) -> Result<(), JournalError> {
        let classify = |error| classify(&self.path, &error);
        let query = "SELECT sequence, at_ms, command FROM entries ORDER BY sequence";
        let mut statement = self.connection.prepare(query).map_err(classify)?;
        let mut rows = statement.query([]).map_err(classify)?;
        while let Some(row) = rows.next().map_err(classify)? {
            let (sequence, at, command) = columns(row).map_err(classify)?;
            let replayed = read_entry(at, &command).and_then(&mut *each);
            replayed.map_err(|error| JournalError::Replay { path: self.path.clone(), sequence, error })?;
        }
        Ok(())
    }
}

fn columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, i64, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn read_entry(at: i64, command: &str) -> Result<Entry, ReplayError> {
    let command = serde_json::from_str(command).map_err(|error| ReplayError(error.to_string()))?;
    Ok(Entry { at: at as u64, command })
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A reply may leave once the commit returns: each has to be on the disk by then, which `normal` does not promise.
    connection.pragma_update(None, "synchronous", "full")
}

fn check_whole(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let verdict: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(detail) => Err(JournalError::Damaged { path: path.to_owned(), detail }),
        Err(error) => Err(classify(path, &error)),
    }
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), JournalError> {
    let classify = |error| classify(path, &error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(classify)?;
    let owner: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(classify)?;
    let known = MIGRATIONS.len() as i64;
    if found != 0 && owner != APPLICATION_ID {
        return Err(JournalError::Damaged { path: path.to_owned(), detail: "it is another program's database".into() });
    }
    if found > known {
        return Err(JournalError::Newer { path: path.to_owned(), found, known });
    }
    let missing = MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0));
    run_migrations(connection, missing, known).map_err(classify)
}

fn run_migrations<'a>(
    connection: &mut Connection,
    missing: impl Iterator<Item = &'a &'a str>,
    version: i64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for statements in missing {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

fn classify(path: &Path, error: &rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Locked(path),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => JournalError::Damaged { path, detail },
        _ => JournalError::Failed { path, detail },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ensemble::cluster::Command;
    use ensemble::id::JobId;
    use std::fs;

    fn entries() -> Vec<Entry> {
        let cancel = |job| Command::Cancel { job: JobId::new(job) };
        vec![Entry { at: 7, command: cancel("shapes-1") }, Entry { at: 9, command: cancel("shapes-2") }]
    }

    fn replayed(journal: &mut SqliteJournal) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut keep = |entry| {
            found.push(entry);
            Ok(())
        };
        journal.replay(&mut keep).unwrap();
        found
    }

    #[test]
    fn entries_come_back_in_order_from_a_new_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = SqliteJournal::open(&path).unwrap();
        journal.append(&entries()[..1]).unwrap();
        journal.append(&entries()[1..]).unwrap();
        drop(journal);
        assert_eq!(replayed(&mut SqliteJournal::open(&path).unwrap()), entries());
    }

    #[test]
    fn a_journal_that_cannot_be_trusted_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, prepare: &dyn Fn(&Path), words: &[&str]| {
            let path = folder.path().join(name);
            prepare(&path);
            let error = SqliteJournal::open(&path).unwrap_err().to_string();
            words.iter().for_each(|word| assert!(error.contains(word), "{error}"));
        };
        check(
            "text",
            &|path| fs::write(path, "no database at all, ".repeat(99)).unwrap(),
            &["damaged", "move it away"],
        );
        check("newer", &|path| set_version(path, 2), &["schema version 2", "up to 1"]);
        check("foreign", &foreign, &["another program's"]);
        check("torn", &torn, &["damaged"]);
    }

    fn set_version(path: &Path, version: i64) {
        let journal = SqliteJournal::open(path).unwrap();
        journal.connection.pragma_update(None, "user_version", version).unwrap();
    }

    fn foreign(path: &Path) {
        Connection::open(path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    }

    /// Writes a few pages, and overwrites those after the first with zeros.
    fn torn(path: &Path) {
        let mut journal = SqliteJournal::open(path).unwrap();
        (0..500).for_each(|_| journal.append(&entries()).unwrap());
        drop(journal);
        let mut content = fs::read(path).unwrap();
        content[4096..].fill(0);
        fs::write(path, content).unwrap();
    }
}
