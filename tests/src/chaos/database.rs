//! A PostgreSQL server of the tests' own, from `setup/postgres`, that can be away.

use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// What `setup/postgres` ends with where no PostgreSQL is installed.
const NOT_INSTALLED: i32 = 3;

/// The server, stopped with the last use of it.
#[derive(Debug)]
pub struct Database {
    /// In the system's temporary folder, where the server's own user can reach it.
    folder: TempDir,
    url: String,
}

impl Database {
    /// Starts it. None, said aloud, where it is not installed and need not be.
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let output = script("start", &folder);
        if output.status.code() == Some(NOT_INSTALLED) {
            let message = crate::text(&output.stderr);
            assert!(std::env::var_os("CI").is_none(), "{message}");
            eprintln!("NO STANDBY: {message}");
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        Some(Self { folder, url: crate::text(&output.stdout).trim().to_owned() })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it, as a power failure does.
    pub fn kill(&self) {
        assert!(script("kill", &self.folder).status.success());
    }

    /// Starts it where it was.
    pub fn start_again(&self) {
        assert!(script("start", &self.folder).status.success());
    }

    /// Asks with the server's own client.
    pub fn ask(&self, sql: &str) -> String {
        crate::succeed(Command::new("psql").args([&self.url, "-qtAc", sql])).trim().to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        script("stop", &self.folder);
    }
}

fn script(what: &str, folder: &TempDir) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../setup/postgres");
    Command::new(script).arg(what).arg(folder.path()).output().unwrap()
}
