//! `tutti up` and the commands that talk to it.

use crate::processes::{MARK, Marked, children, kill};
use crate::{program, succeed};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// On busy cores and a cold disk, libtorch takes seconds to load, in each of the processes in turn.
const READY_WITHIN: Duration = Duration::from_secs(240);
/// How often the endpoint's file is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A cluster on this machine. When it is dropped, none of its processes is left.
pub struct Cluster {
    up: Child,
    data_dir: PathBuf,
    processes: Marked,
}

impl Cluster {
    /// Starts a coordinator and two workers with their state in `data_dir`, and waits until they are ready.
    pub fn start(data_dir: &Path) -> Self {
        let mark = data_dir.to_string_lossy();
        let mut command = Command::new(program("tutti"));
        command.args(["up", "--workers", "2", "--data-dir"]).arg(data_dir).env(MARK, &*mark);
        command.stdout(Stdio::null()).stderr(fs::File::create(data_dir.with_extension("log")).unwrap());
        let up = command.spawn().unwrap();
        let mut cluster = Self { up, data_dir: data_dir.to_owned(), processes: Marked::new(&mark) };
        cluster.wait_until_ready();
        cluster
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.data_dir.join("endpoint").exists() {
            let ended = self.up.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no cluster came up ({ended:?}):\n{}", self.logs());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Where the coordinator listens, as `HOST:PORT`.
    pub fn endpoint(&self) -> String {
        fs::read_to_string(self.data_dir.join("endpoint")).unwrap().trim().to_owned()
    }

    /// `tutti ARGUMENTS`, for this cluster.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("tutti"));
        command.args(arguments).env("TUTTI_COORDINATOR", self.endpoint());
        command
    }

    /// Runs a command that must succeed and gives its JSON.
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let output = succeed(self.command(arguments).args(["--output", "json"]));
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{output}"))
    }

    /// Submits a job file and gives the job's name.
    pub fn submit(&self, file: &Path) -> String {
        succeed(self.command(&["run", "--detach"]).arg(file)).trim().to_owned()
    }

    /// Ends a worker and its engines as a failing host would.
    pub fn kill_worker(&self, name: &str) {
        kill(&[self.worker(name)]);
    }

    /// Ends all engines of a worker, the one that trains and the one that serves.
    pub fn kill_engines(&self, worker: &str) {
        let engines = children(self.worker(worker));
        assert!(!engines.is_empty(), "{worker} has no engine");
        kill(&engines);
    }

    fn worker(&self, name: &str) -> Pid {
        let found = self.processes.running(&["tutti-worker", &format!("--name {name} ")]);
        let [worker] = found[..] else { panic!("{name} is not one process but {found:?}") };
        worker
    }

    /// Stops it as Ctrl-C does, and checks that no process is left.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.up), Signal::INT).unwrap();
        let status = self.up.wait().unwrap();
        self.processes.assert_gone();
        status
    }

    /// What its processes have written, for the message of a failing test.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        let files = fs::read_dir(self.data_dir.parent().unwrap()).unwrap().chain(fs::read_dir(&self.data_dir).unwrap());
        for path in
            files.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log"))
        {
            logs += &format!("== {}\n{}\n", path.display(), fs::read_to_string(&path).unwrap_or_default());
        }
        logs
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.processes.kill();
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}
