//! One connection to the database, made anew after every failure, with a bound on every answer.

use super::database::{Database, with_causes};
use crate::journal::JournalError;
use std::collections::HashMap;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// How long an answer may take. A server that is paused, or behind a network that swallows packets, never answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The same where a whole state is sent or read.
pub(super) const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What each session is told first. A server that may lose what it has confirmed cannot keep a journal, so the session
/// asks for more where the server's defaults promise less; a statement whose asker has gone must not go on for ever.
const SESSION: &str = "SET statement_timeout = '120s'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A connection that the thread that owns it waits on.
#[derive(Debug)]
pub(super) struct Connection {
    database: Database,
    /// Of this connection alone: it runs while somebody waits.
    runtime: Runtime,
    live: Option<Live>,
}

/// A connection that works, with the statements prepared on it.
#[derive(Debug)]
pub(super) struct Live {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Connection {
    /// Connects with the first question.
    pub fn new(database: Database) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { database, runtime, live: None })
    }

    pub fn name(&self) -> &str {
        &self.database.name
    }

    /// Asks, within the usual time.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Live) -> Result<T, Error>) -> Result<T, JournalError> {
        self.run_within(ANSWER_TIMEOUT, work)
    }

    /// Asks. After a failure nothing is known of the connection's state, so the next question is asked on a new one.
    pub fn run_within<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Live) -> Result<T, Error>,
    ) -> Result<T, JournalError> {
        let Self { database, runtime, live } = self;
        let asked = async {
            let live = match live {
                Some(live) => live,
                None => live.insert(Live::connect(database).await?),
            };
            work(live).await
        };
        // The timer is made where the runtime is: inside.
        let answer = runtime.block_on(async { timeout(limit, asked).await });
        let failed = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => classify(&database.name, &error),
            Err(_) => failed(&database.name, format!("no answer within {} s", limit.as_secs())),
        };
        *live = None;
        Err(failed)
    }
}

impl Live {
    async fn connect(database: &Database) -> Result<Self, Error> {
        let (client, connection) = database.config.connect(database.tls.clone()).await?;
        // Ends with the client. Its error is that of the question that was asked.
        tokio::spawn(async { drop(connection.await) });
        client.batch_execute(SESSION).await?;
        Ok(Self { client, statements: HashMap::new() })
    }

    pub async fn query(&mut self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, values).await
    }

    pub async fn query_one(&mut self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query_one(&statement, values).await
    }

    /// Several statements, in one message: nothing of this process is needed between them.
    pub async fn batch(&mut self, statements: &str) -> Result<(), Error> {
        self.client.batch_execute(statements).await
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

fn classify(journal: &str, error: &Error) -> JournalError {
    let detail = with_causes(error);
    match error.code() {
        Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            JournalError::Damaged { journal: journal.to_owned(), detail }
        }
        _ => failed(journal, detail),
    }
}

fn failed(journal: &str, detail: String) -> JournalError {
    let remedy = "check that the database runs, can be reached, and lets this user in";
    JournalError::Failed { journal: journal.to_owned(), detail, remedy }
}
