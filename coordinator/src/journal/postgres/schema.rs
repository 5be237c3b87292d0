//! What the journal looks like in PostgreSQL, and how an older one is brought up to date.

use super::connection::Connection;
use super::leader;
use crate::journal::JournalError;

/// Who leads, and which schema the rest has. This stays as it is in all versions: coordinators of different versions
/// compete for it.
const GROUND: &str = "BEGIN;
    SELECT pg_advisory_xact_lock(1953854569);
    CREATE SCHEMA IF NOT EXISTS tutti;
    CREATE TABLE IF NOT EXISTS tutti.leader
        (epoch bigint PRIMARY KEY, holder text NOT NULL, expires timestamptz NOT NULL);
    INSERT INTO tutti.leader SELECT 0, 'nobody', '-infinity' WHERE NOT EXISTS (SELECT FROM tutti.leader);
    CREATE TABLE IF NOT EXISTS tutti.schema_version (version bigint NOT NULL);
    INSERT INTO tutti.schema_version SELECT 0 WHERE NOT EXISTS (SELECT FROM tutti.schema_version);
    COMMIT";

/// The statements that lead from each schema version to the next. Never change one that was released.
const MIGRATIONS: &[&str] = &["CREATE TABLE tutti.entries (
         sequence bigint PRIMARY KEY, epoch bigint NOT NULL, rules integer NOT NULL,
         at_ms bigint NOT NULL, command text NOT NULL);
     CREATE TABLE tutti.snapshots (
         sequence bigint PRIMARY KEY, epoch bigint NOT NULL,
         at_ms bigint NOT NULL, digest text NOT NULL, state text NOT NULL)"];

/// Lays the ground where it is missing, and refuses a journal of a later version, before anybody competes for it.
pub(super) fn lay_ground(connection: &mut Connection) -> Result<(), JournalError> {
    // Whoever only stands by may lack the right to create what is there already.
    let there = "SELECT to_regclass('tutti.leader') IS NOT NULL AND to_regclass('tutti.schema_version') IS NOT NULL";
    let ready: bool = connection.run(async |live| Ok(live.query_one(there, &[]).await?.get(0)))?;
    if !ready {
        connection.run(async |live| live.batch(GROUND).await)?;
    }
    version(connection).map(drop)
}

/// Brings the journal up to date, as the leader of that epoch: a standby of a later version must not change it under the
/// feet of the one that leads.
pub(super) fn migrate(connection: &mut Connection, epoch: i64) -> Result<(), JournalError> {
    let found = version(connection)?;
    for (version, statements) in (found + 1..).zip(&MIGRATIONS[found as usize..]) {
        let fence = leader::fence(epoch);
        let note = format!("UPDATE tutti.schema_version SET version = {version}");
        let step = format!("BEGIN; {fence}; {statements}; {note}; COMMIT");
        connection.run(async |live| live.batch(&step).await)?;
    }
    Ok(())
}

fn version(connection: &mut Connection) -> Result<i64, JournalError> {
    let query = "SELECT version FROM tutti.schema_version";
    let found: i64 = connection.run(async |live| Ok(live.query_one(query, &[]).await?.get(0)))?;
    let known = MIGRATIONS.len() as i64;
    let journal = connection.name().to_owned();
    if found > known { Err(JournalError::Newer { journal, found, known }) } else { Ok(found) }
}
