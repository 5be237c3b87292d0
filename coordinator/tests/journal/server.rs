//! A PostgreSQL server of the tests' own, from `setup/postgres`.

use coordinator::journal::postgres::Database;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tempfile::TempDir;

/// Shared by the tests that run at the same time, and stopped with the last of them.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// What `setup/postgres` ends with where no PostgreSQL is installed.
const NOT_INSTALLED: i32 = 3;

pub struct Server {
    folder: TempDir,
    url: String,
    databases: AtomicU32,
}

impl Server {
    /// The server that tests share; none where PostgreSQL is not installed and need not be.
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap();
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server for a test that will do it harm.
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let output = script("start", &folder).output().unwrap();
        if output.status.code() == Some(NOT_INSTALLED) {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            assert!(std::env::var_os("CI").is_none(), "{message}");
            eprintln!("NOT TESTED against PostgreSQL: {message}");
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Self { folder, url, databases: AtomicU32::new(0) })
    }

    /// A fresh database: its URL.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask(&self.url, &format!("CREATE DATABASE {name}"));
        self.url.replace("/postgres", &format!("/{name}"))
    }

    /// Kills it, as a power failure does.
    pub fn kill(&self) {
        self.told("kill");
    }

    /// Starts it where it was.
    pub fn start_again(&self) {
        self.told("start");
    }

    /// Stops it without its knowledge.
    pub fn pause(&self) {
        self.told("pause");
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.told("resume");
    }

    fn told(&self, what: &str) {
        let output = script(what, &self.folder).output().unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
    }

    /// Asks with the server's own client: what it answers, a row for a line.
    pub fn ask(&self, url: &str, sql: &str) -> Vec<String> {
        let output = Command::new("psql").args([url, "-qtAc", sql]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The test may have stopped it, or have failed while it was paused.
        let _ = script("resume", &self.folder).output();
        let _ = script("stop", &self.folder).output();
    }
}

pub fn database(url: &str) -> Database {
    Database::new(url, None).unwrap()
}

fn script(what: &str, folder: &TempDir) -> Command {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../setup/postgres");
    let mut command = Command::new(script);
    command.arg(what).arg(folder.path());
    command
}
