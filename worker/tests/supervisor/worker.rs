//! The worker under test: in this process, with the fake engine unless told otherwise.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use worker::{Config, Device, Patience, WorkerError};

/// Nothing in these tests takes longer unless it never comes.
const WITHIN: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub async fn within_reason<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WITHIN, future).await.expect("what was waited for did not come")
}

/// A running worker.
pub struct Worker {
    task: JoinHandle<Result<(), WorkerError>>,
    stop: oneshot::Sender<()>,
    pub folder: TempDir,
}

impl Worker {
    pub fn start(coordinator: &str) -> Self {
        Self::start_with(coordinator, fake_engine())
    }

    pub fn start_with(coordinator: &str, engine: PathBuf) -> Self {
        Self::start_as(coordinator, |config| config.engine = engine)
    }

    /// Starts a worker that is unlike others. Coordinators' addresses are separated by commas.
    pub fn start_as(coordinators: &str, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            coordinators: coordinators.split(',').map(|address| address.parse().unwrap()).collect(),
            name: "w".to_owned(),
            data_dir: folder.path().join("data"),
            devices: vec![Device::Cpu],
            threads_per_slot: 1,
            cache_bytes: 1 << 20,
            engine: fake_engine(),
            artifacts: None,
            drain: Duration::from_secs(20),
            away_limit: Duration::from_secs(600),
            patience: Patience { stall: Duration::from_secs(60), step: Duration::from_secs(1800) },
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        Self { task: tokio::spawn(worker::run(config, || {}, shutdown)), stop, folder }
    }

    /// Tells it to stop.
    pub async fn stop(self) -> Result<(), WorkerError> {
        let _ = self.stop.send(());
        within_reason(self.task).await.unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn end(self) -> Result<(), WorkerError> {
        within_reason(self.task).await.unwrap()
    }
}

/// `cargo test` builds examples beside the tests.
pub fn fake_engine() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("examples/fake-engine");
    assert!(path.is_file(), "{} is missing; `cargo build --release -p worker --examples` builds it", path.display());
    path
}

/// An engine that is a shell script.
pub fn scripted_engine(folder: &TempDir, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("engine");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// A pipe on which a fake engine waits with `await`.
pub struct Pipe(PathBuf);

impl Pipe {
    pub fn new(worker: &Worker, name: &str) -> Self {
        let path = worker.folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }

    /// What the engine does there.
    pub fn act(&self) -> String {
        format!("await {}", self.0.display())
    }

    /// Waits until the engine waits, and lets it go on.
    pub async fn let_go(&self) {
        let path = self.0.clone();
        within_reason(tokio::task::spawn_blocking(move || std::fs::write(path, ""))).await.unwrap().unwrap();
    }
}

pub fn signal(process: &str, name: &str) {
    assert!(std::process::Command::new("kill").args([name, process]).status().unwrap().success());
}
