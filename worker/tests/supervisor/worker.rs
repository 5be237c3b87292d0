//! The worker under test: in this process, with the fake engine unless told otherwise.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use worker::{Config, Device, WorkerError};

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
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            coordinator: coordinator.parse().unwrap(),
            name: "w".to_owned(),
            data_dir: folder.path().join("data"),
            devices: vec![Device::Cpu],
            threads_per_slot: 1,
            cache_bytes: 1 << 20,
            engine,
        };
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
