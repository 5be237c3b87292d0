//! Where a journal of the suite lies, and how to get at it from behind.

use crate::server::{Server, database};
use coordinator::journal::postgres::{Candidate, Leadership};
use coordinator::journal::{Journal, JournalError, SqliteJournal};
use std::sync::Arc;
use tempfile::TempDir;

pub trait Place {
    /// Opens the journal, as a process does that has nothing but the place.
    fn open(&self) -> Result<Open, JournalError>;

    /// Changes what is stored, as no journal would. `{}` stands before a table's name.
    fn tamper(&self, sql: &str);

    /// The statement that pretends a schema version.
    fn set_version(&self, version: i64);
}

/// A journal that is open, with what must live as long.
pub struct Open {
    pub journal: Box<dyn Journal>,
    _leadership: Option<Leadership>,
}

pub struct Sqlite(TempDir);

impl Sqlite {
    pub fn new() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("journal")
    }
}

impl Place for Sqlite {
    fn open(&self) -> Result<Open, JournalError> {
        Ok(Open { journal: Box::new(SqliteJournal::open(&self.path())?), _leadership: None })
    }

    fn tamper(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.execute_batch(&sql.replace("{}", "")).unwrap();
    }

    fn set_version(&self, version: i64) {
        self.tamper(&format!("PRAGMA user_version = {version}"));
    }
}

pub struct Postgres {
    server: Arc<Server>,
    url: String,
}

impl Postgres {
    pub fn new() -> Option<Self> {
        let server = Server::shared()?;
        let url = server.database();
        Some(Self { server, url })
    }
}

impl Place for Postgres {
    fn open(&self) -> Result<Open, JournalError> {
        let candidate = Candidate::new(database(&self.url), "suite".into()).unwrap();
        let (journal, leadership) = candidate.lead(|_| true)?.unwrap();
        Ok(Open { journal: Box::new(journal), _leadership: Some(leadership) })
    }

    fn tamper(&self, sql: &str) {
        self.server.ask(&self.url, &sql.replace("{}", "tutti."));
    }

    fn set_version(&self, version: i64) {
        self.tamper(&format!("UPDATE tutti.schema_version SET version = {version}"));
    }
}
