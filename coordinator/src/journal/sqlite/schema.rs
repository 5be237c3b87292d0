//! What an SQLite journal looks like, and how an older one is brought up to date.

use super::classify;
use crate::journal::JournalError;
use rusqlite::Connection;

/// The statements that lead from each schema version to the next; the version is how many have been run. Never change
/// one that was released: journals have run it.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, command TEXT NOT NULL) STRICT",
    // A worker whose session broke lost its leases at once under the first rules, which is what silence means now.
    "ALTER TABLE entries ADD COLUMN rules INTEGER NOT NULL DEFAULT 1;
     UPDATE entries SET command = replace(command, '\"reason\":\"disconnected\"', '\"reason\":\"silent\"')
     WHERE command LIKE '{\"leave\":%';
     CREATE TABLE snapshots (
         sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL
     ) STRICT",
];

/// Marks the file as ours, so that no other database is taken for a journal: "tuti".
const APPLICATION_ID: i64 = 0x7475_7469;

/// Checks that the file is a whole journal of a known version, and makes it one of the newest.
pub(super) fn prepare(name: &str, connection: &mut Connection) -> Result<(), JournalError> {
    set_modes(connection).map_err(|error| classify(name, &error))?;
    check_whole(name, connection)?;
    migrate(name, connection)
}

fn set_modes(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A reply may leave once the commit returns: each has to be on the disk by then, which `normal` does not promise.
    connection.pragma_update(None, "synchronous", "full")
}

fn check_whole(name: &str, connection: &Connection) -> Result<(), JournalError> {
    let verdict: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(detail) => Err(JournalError::Damaged { journal: name.to_owned(), detail }),
        Err(error) => Err(classify(name, &error)),
    }
}

fn migrate(name: &str, connection: &mut Connection) -> Result<(), JournalError> {
    let classify = |error| classify(name, &error);
    let pragma = |what| connection.pragma_query_value(None, what, |row| row.get::<_, i64>(0)).map_err(classify);
    let (found, owner) = (pragma("user_version")?, pragma("application_id")?);
    let (journal, known) = (name.to_owned(), MIGRATIONS.len() as i64);
    if found != 0 && owner != APPLICATION_ID {
        return Err(JournalError::Damaged { journal, detail: "it is another program's database".into() });
    }
    if found > known {
        return Err(JournalError::Newer { journal, found, known });
    }
    run_migrations(connection, usize::try_from(found).unwrap_or(0)).map_err(classify)
}

fn run_migrations(connection: &mut Connection, done: usize) -> rusqlite::Result<()> {
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for statements in &MIGRATIONS[done..] {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()
}
