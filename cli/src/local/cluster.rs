//! The cluster's life: its processes start in order, are watched, and stop in order.

use super::folder::Folder;
use super::process::{Ended, Process};
use anyhow::{Context, Result};
use futures_util::future::{join_all, select_all};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// A worker that drains stores the checkpoints of what it is at; the coordinator flushes its journal.
const WORKER_STOP_TIMEOUT: Duration = Duration::from_secs(15);
const COORDINATOR_STOP_TIMEOUT: Duration = Duration::from_secs(5);

const COORDINATOR: &str = "coordinator";

/// What the cluster consists of.
#[derive(Clone, Debug)]
pub struct Settings {
    pub workers: NonZeroUsize,
    /// Dealt to the workers in turn.
    pub devices: Vec<String>,
}

/// The processes that are alive.
pub struct Cluster {
    folder: Folder,
    coordinator: Option<Process>,
    workers: Vec<Process>,
}

impl Cluster {
    /// A cluster without processes.
    pub fn new(folder: Folder) -> Self {
        Self { folder, coordinator: None, workers: Vec::new() }
    }

    /// Starts the coordinator on a free port, then the workers, and waits until all are ready. Gives `HOST:PORT`.
    ///
    /// # Errors
    /// A program is missing, or ends before it is ready.
    pub async fn start(&mut self, settings: &Settings) -> Result<String> {
        let endpoint = self.start_coordinator().await?;
        for index in 0..settings.workers.get() {
            self.start_worker(index, &endpoint, settings)?;
        }
        for worker in &mut self.workers {
            worker.ready("joined").await?;
        }
        self.folder.write_endpoint(&endpoint)?;
        Ok(endpoint)
    }

    async fn start_coordinator(&mut self) -> Result<String> {
        let data_dir = self.folder.of_process(COORDINATOR);
        let arguments = ["--listen".into(), "127.0.0.1:0".into(), "--data-dir".into(), text(data_dir)];
        let process =
            Process::start(COORDINATOR, &sibling("tutti-coordinator")?, &arguments, self.folder.log(COORDINATOR))?;
        let url = self.coordinator.insert(process).ready("listening on ").await?;
        Ok(url.trim_start_matches("http://").to_owned())
    }

    fn start_worker(&mut self, index: usize, endpoint: &str, settings: &Settings) -> Result<()> {
        let name = format!("worker-{}", index + 1);
        let device = &settings.devices[index % settings.devices.len()];
        let options = [
            ("--coordinator", format!("http://{endpoint}")),
            ("--name", name.clone()),
            ("--data-dir", text(self.folder.of_process(&name))),
            ("--devices", device.clone()),
            ("--threads-per-slot", threads_per_worker(settings.workers).to_string()),
        ];
        let arguments: Vec<_> = options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect();
        let log = self.folder.log(&name);
        self.workers.push(Process::start(&name, &sibling("tutti-worker")?, &arguments, log)?);
        Ok(())
    }

    /// Waits until a process has ended, and forgets it.
    ///
    /// # Errors
    /// The system does not tell, or nothing is left that could end.
    pub async fn next_end(&mut self) -> Result<Ended> {
        let waiting: Vec<_> =
            self.coordinator.iter_mut().chain(&mut self.workers).map(|process| Box::pin(process.ended())).collect();
        let ended = select_all(waiting).await.0?;
        self.coordinator.take_if(|process| process.name == ended.name);
        self.workers.retain(|process| process.name != ended.name);
        Ok(ended)
    }

    /// Whether tasks can still be worked on.
    pub fn can_work(&self) -> bool {
        self.coordinator.is_some() && !self.workers.is_empty()
    }

    /// Stops the workers, then the coordinator that they report to. What does not stop in time is killed.
    pub async fn stop(&mut self) {
        stop(&mut self.workers, WORKER_STOP_TIMEOUT).await;
        stop(self.coordinator.as_mut_slice(), COORDINATOR_STOP_TIMEOUT).await;
        self.folder.remove_endpoint();
    }

    /// Ends all processes at once.
    pub async fn kill(&mut self) {
        stop(&mut self.workers, Duration::ZERO).await;
        stop(self.coordinator.as_mut_slice(), Duration::ZERO).await;
        self.folder.remove_endpoint();
    }
}

async fn stop(processes: &mut [Process], timeout: Duration) {
    processes.iter().for_each(Process::terminate);
    if tokio::time::timeout(timeout, all_ended(processes)).await.is_err() {
        processes.iter().for_each(Process::kill);
        all_ended(processes).await;
    }
}

async fn all_ended(processes: &mut [Process]) {
    join_all(processes.iter_mut().map(Process::ended)).await;
}

/// The cores are shared evenly; a worker has at least one.
fn threads_per_worker(workers: NonZeroUsize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores / workers).max(1)
}

/// All programs lie in one folder.
fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own folder")?;
    Ok(own.with_file_name(name))
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
