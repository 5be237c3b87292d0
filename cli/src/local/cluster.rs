//! The cluster's life: its processes start in order, are kept alive, and stop in order.

use super::child::Child;
use super::folder::Folder;
use super::process::Process;
use crate::display::progress::Notes;
use anyhow::{Context, Error, Result, anyhow};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// A worker that drains stores the checkpoints of what it is at; the coordinator flushes its journal. Both bound that by
/// themselves, to 20 s and 10 s: these are for one that hangs.
const WORKER_STOP_TIMEOUT: Duration = Duration::from_secs(25);
const COORDINATOR_STOP_TIMEOUT: Duration = Duration::from_secs(15);

const COORDINATOR: &str = "coordinator";

/// What the cluster consists of.
#[derive(Clone, Debug)]
pub struct Settings {
    pub workers: NonZeroUsize,
    /// Dealt to the workers in turn.
    pub devices: Vec<String>,
    /// Where artifacts lie, if not in the coordinator's folder. The workers then move them by themselves.
    pub artifacts: Option<String>,
    /// How long the workers go on without the coordinator, if not as long as they do by themselves.
    pub away_limit_s: Option<f64>,
}

/// The processes of the cluster.
pub struct Cluster {
    folder: Folder,
    coordinator: Option<Child>,
    workers: Vec<Child>,
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
        let endpoint = self.start_coordinator(settings).await?;
        for index in 0..settings.workers.get() {
            self.start_worker(index, &endpoint, settings)?;
        }
        for worker in &mut self.workers {
            worker.ready().await?;
        }
        self.folder.write_endpoint(&endpoint)?;
        Ok(endpoint)
    }

    async fn start_coordinator(&mut self, settings: &Settings) -> Result<String> {
        let data_dir = self.folder.of_process(COORDINATOR);
        let options = [("--listen", Some("127.0.0.1:0".to_owned())), ("--data-dir", Some(text(data_dir)))];
        let arguments = given(options.into_iter().chain([("--artifacts", settings.artifacts.clone())]));
        let (program, log) = (sibling("tutti-coordinator")?, self.folder.log(COORDINATOR));
        let child = Child::new(COORDINATOR, program, arguments, "listening on ", log)?;
        let coordinator = self.coordinator.insert(child);
        coordinator.launch()?;
        let url = coordinator.ready().await?;
        let endpoint = url.trim_start_matches("http://").to_owned();
        // Where it was is where the workers and everybody else will look for it when it is started again.
        coordinator.set_argument("--listen", &endpoint);
        Ok(endpoint)
    }

    fn start_worker(&mut self, index: usize, endpoint: &str, settings: &Settings) -> Result<()> {
        let name = format!("worker-{}", index + 1);
        let device = &settings.devices[index % settings.devices.len()];
        let options = [
            ("--coordinator", Some(format!("http://{endpoint}"))),
            ("--name", Some(name.clone())),
            ("--data-dir", Some(text(self.folder.of_process(&name)))),
            ("--devices", Some(device.clone())),
            ("--threads-per-slot", Some(threads_per_worker(settings.workers).to_string())),
            ("--artifacts", settings.artifacts.clone()),
            ("--away-limit-s", settings.away_limit_s.map(|seconds| seconds.to_string())),
        ];
        let arguments = given(options.into_iter());
        let log = self.folder.log(&name);
        let mut worker = Child::new(&name, sibling("tutti-worker")?, arguments, "joined", log)?;
        worker.launch()?;
        self.workers.push(worker);
        Ok(())
    }

    /// Starts processes again that crash, for as long as there is a coordinator and a worker; then says what has become
    /// of them. The tasks of a worker that is given up go to the others.
    pub async fn watch(&mut self, notes: &Notes) -> Error {
        let Some(coordinator) = &mut self.coordinator else { return anyhow!("there is no coordinator") };
        let mut coordinator = Box::pin(coordinator.keep(notes));
        let mut workers: FuturesUnordered<_> = self.workers.iter_mut().map(|worker| worker.keep(notes)).collect();
        loop {
            tokio::select! {
                end = &mut coordinator => return end,
                Some(end) = workers.next() => match workers.is_empty() {
                    true => return end,
                    false => notes.say(&format!("warning: {end:#}\nthe other workers take over its tasks")),
                },
            }
        }
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

async fn stop(children: &mut [Child], timeout: Duration) {
    let mut processes: Vec<_> = children.iter_mut().filter_map(Child::process).collect();
    processes.iter().for_each(|process| process.terminate());
    if tokio::time::timeout(timeout, all_ended(&mut processes)).await.is_err() {
        processes.iter().for_each(|process| process.kill());
        all_ended(&mut processes).await;
    }
}

async fn all_ended(processes: &mut [&mut Process]) {
    join_all(processes.iter_mut().map(|process| process.ended())).await;
}

/// The options that have a value, as a command line.
fn given(options: impl Iterator<Item = (&'static str, Option<String>)>) -> Vec<String> {
    let options = options.filter_map(|(option, value)| Some([option.to_owned(), value?]));
    options.flatten().collect()
}

/// The cores are shared evenly; a worker has at least one.
fn threads_per_worker(workers: NonZeroUsize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores / workers).max(1)
}

/// All programs lie in one folder.
///
/// # Errors
/// This program's own place cannot be found.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own folder")?;
    Ok(own.with_file_name(name))
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
