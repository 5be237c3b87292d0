//! A coordinator and workers, each a process of its own, with a proxy and a disk of its own for each.

use super::bucket::Bucket;
use super::disk::Disk;
use super::libfiu::Libfiu;
use super::log::Mark;
use super::observer::Observer;
use super::process::Process;
use crate::program;
use crate::proxy::Proxy;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How many workers there are. Each has one slot.
pub const WORKERS: usize = 3;
/// Short, so that many of them fit into a test.
pub const LEASE: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_millis(500);
/// An engine that is stopped is given up after so long.
const STALL: Duration = Duration::from_secs(4);

/// Where artifacts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// In the coordinator's folder.
    Folder,
    /// On an S3 server. One worker reaches it by itself, the others through the coordinator.
    Bucket,
}

/// All processes and what lies between them.
pub struct Fleet {
    pub coordinator: Process,
    pub coordinator_disk: Disk,
    pub workers: Vec<Host>,
    pub observer: Observer,
    pub libfiu: Option<Libfiu>,
    pub bucket: Option<Bucket>,
    /// The proxies live on it, and the observer asks on it.
    _runtime: Runtime,
}

/// A worker, and the way between it and the coordinator.
pub struct Host {
    pub process: Process,
    pub proxy: Proxy,
    pub disk: Disk,
}

impl Fleet {
    /// Starts all of it, with everything that it writes in a folder.
    pub fn start(folder: &Path, keeping: Keeping) -> Self {
        let runtime = Runtime::new().unwrap();
        let [address] = free_addresses();
        let libfiu = Libfiu::find(folder);
        let coordinator_disk = Disk::new(folder.join("coordinator"));
        let bucket = (keeping == Keeping::Bucket).then(|| Bucket::start(runtime.handle(), folder.join("objects")));
        let coordinator = in_bucket(coordinator(folder, address, &coordinator_disk, libfiu.as_ref()), bucket.as_ref());
        let mut workers: Vec<_> =
            (1..=WORKERS).map(|index| host(&runtime, folder, address, index, libfiu.as_ref())).collect();
        if let Some(Host { process, proxy, disk }) = workers.pop() {
            workers.push(Host { process: in_bucket(process, bucket.as_ref()), proxy, disk });
        }
        let observer = Observer::new(runtime.handle().clone(), &address.to_string());
        let mut fleet = Self { coordinator, coordinator_disk, workers, observer, libfiu, bucket, _runtime: runtime };
        fleet.restart_what_is_down();
        fleet.observer.await_connected(WORKERS);
        fleet
    }

    /// Does what an operator's init does, and waits until all of it works.
    pub fn restart_what_is_down(&mut self) {
        let workers = self.workers.iter_mut().map(|host| &mut host.process);
        let all = [&mut self.coordinator].into_iter().chain(workers);
        let mut down: Vec<_> = all.filter_map(|process| (!process.runs()).then_some(process)).collect();
        down.iter_mut().for_each(|process| process.start());
        down.into_iter().for_each(Process::await_ready);
    }

    /// The folder of the store.
    pub fn artifacts(&self) -> PathBuf {
        let folder = || self.coordinator_disk.folder().join("data/artifacts");
        self.bucket.as_ref().map_or_else(folder, |bucket| bucket.folder().to_owned())
    }

    /// How often processes have ended though nobody had asked for it.
    pub fn deserted(&self) -> usize {
        let workers = self.workers.iter().map(|host| host.process.deserted());
        self.coordinator.deserted() + workers.sum::<usize>()
    }

    /// How often what must not count was found out, by workers and by the coordinator.
    pub fn refusals(&self) -> [(&'static str, usize); 3] {
        let times = |process: &Process, words| process.log.count(Mark::START, &[words]);
        let given_up = self.workers.iter().map(|host| times(&host.process, "lease was not kept")).sum();
        let refused = times(&self.coordinator, "a result does not count");
        let damaged = times(&self.coordinator, "an artifact is damaged");
        [
            ("leases given up by workers that came back", given_up),
            ("late results that were refused", refused),
            ("damaged artifacts that were found out", damaged),
        ]
    }

    /// A worker by its name.
    pub fn host(&mut self, name: &str) -> &mut Host {
        self.workers.iter_mut().find(|host| host.process.name == name).unwrap()
    }

    /// What all processes said last, for the message of a failing test.
    pub fn logs(&self) -> String {
        let workers = self.workers.iter().map(|host| host.process.log.tail());
        [self.coordinator.log.tail()].into_iter().chain(workers).collect()
    }

    /// Stops all of it in order.
    pub fn stop(mut self) {
        self.workers.iter_mut().for_each(|host| host.process.terminate());
        self.coordinator.terminate();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

fn coordinator(folder: &Path, address: SocketAddr, disk: &Disk, libfiu: Option<&Libfiu>) -> Process {
    coordinator_of("coordinator", folder, address, disk.folder())
        .within(libfiu.map(Libfiu::environment).into_iter().flatten())
}

/// A coordinator of this name, whose log lies in `folder`.
pub fn coordinator_of(name: &str, folder: &Path, address: SocketAddr, data: &Path) -> Process {
    let log = folder.join(format!("{name}.log"));
    Process::new(name, program("tutti-coordinator"), log, "listening on ")
        .with([("--listen", address.to_string())])
        .with([("--data-dir", data.join("data"))])
        .with([("--lease-ms", millis(LEASE)), ("--heartbeat-ms", millis(HEARTBEAT))])
        .with([("--artifact-age-min-s", "10")])
}

fn host(runtime: &Runtime, folder: &Path, upstream: SocketAddr, index: usize, libfiu: Option<&Libfiu>) -> Host {
    let name = format!("worker-{index}");
    let proxy = Proxy::start(runtime.handle(), upstream);
    let disk = Disk::new(folder.join(&name));
    let process = worker_of(&name, folder, &format!("http://{}", proxy.address()), disk.folder())
        .within(libfiu.map(Libfiu::environment).into_iter().flatten());
    Host { process, proxy, disk }
}

/// A worker of this name, whose log lies in `folder`.
pub fn worker_of(name: &str, folder: &Path, coordinators: &str, data: &Path) -> Process {
    Process::new(name, program("tutti-worker"), folder.join(format!("{name}.log")), "joined")
        .with([("--coordinator", coordinators), ("--name", name)])
        .with([("--data-dir", data.join("data"))])
        .with([("--devices", "cpu"), ("--threads-per-slot", "1"), ("--drain-s", "15")])
        .with([("--stall-s", STALL.as_secs().to_string())])
}

/// The same process, with its artifacts in a bucket if there is one.
fn in_bucket(process: Process, bucket: Option<&Bucket>) -> Process {
    match bucket {
        Some(bucket) => process.with([("--artifacts", Bucket::url())]).within(bucket.environment()),
        None => process,
    }
}

/// A coordinator comes back where it was, so that its port cannot be any.
pub fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    // All at once, for a port that is given up may be the next to be found free.
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
