//! The worker under test: in this process, with the fake engine unless told otherwise.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
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
    let (path, text) = (folder.path().join("engine"), format!("#!/bin/sh\n{script}\n"));
    // Written by another process: a child that another test forks meanwhile would hold on to a file that this one has
    // open, and what is open for writing cannot be executed.
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let written = std::process::Command::new("sh").args(["-c", write]).arg(&path).arg(text).status();
    assert!(written.unwrap().success());
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
        // Not by an open that blocks: nothing would end it if the engine were dead.
        let open = || File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&self.0);
        let opened = async {
            loop {
                match open() {
                    Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    opened => return opened,
                }
            }
        };
        within_reason(opened).await.unwrap();
    }
}

pub fn signal(process: &str, name: &str) {
    assert!(std::process::Command::new("kill").args([name, process]).status().unwrap().success());
}

/// Waits until a process is there no more.
pub async fn until_gone(process: &str) {
    within_reason(async {
        while is_running(process) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A killed process stays listed as a zombie until its parent looks at it.
pub fn is_running(process: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
