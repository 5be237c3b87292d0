//! The database to measure.

use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A PostgreSQL server.
pub enum Server {
    Given(String),
    Own { url: String, folder: TempDir },
}

impl Server {
    /// The one that the environment names, or one of our own; none where PostgreSQL is not installed.
    pub fn find() -> anyhow::Result<Option<Self>> {
        if let Ok(url) = std::env::var("TUTTI_BENCH_DATABASE") {
            return Ok(Some(Self::Given(url)));
        }
        let folder = tempfile::tempdir()?;
        let started = script("start", &folder)?;
        if !started.status.success() {
            eprintln!("no PostgreSQL: {}", String::from_utf8_lossy(&started.stderr).trim());
            return Ok(None);
        }
        Ok(Some(Self::Own { url: String::from_utf8(started.stdout)?.trim().to_owned(), folder }))
    }

    pub fn url(&self) -> &str {
        match self {
            Self::Given(url) | Self::Own { url, .. } => url,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Own { folder, .. } = self {
            let _ = script("stop", folder);
        }
    }
}

fn script(what: &str, folder: &TempDir) -> std::io::Result<Output> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../setup/postgres");
    Command::new(script).arg(what).arg(folder.path()).output()
}
