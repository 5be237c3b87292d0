//! `tutti up`: its children start, are watched, and never outlive it. The programs beside it are shell scripts here, so
//! that only the starting and stopping is tested.

use super::{assert_fails, stderr};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says that it is ready, and ends on SIGTERM with a note of having done so.
const OBEDIENT: &str = "trap 'echo stopped >>\"$0.stopped\"; exit 0' TERM";
const COORDINATOR_READY: &str = "echo 'listening on http://127.0.0.1:7'";
const WORKER_READY: &str = "echo \"joined $*\"";
/// Waits for ever, and for signals meanwhile.
const WAIT: &str = "while :; do sleep 0.05; done";

/// What must come does so within this time, or never.
const WITHIN: Duration = Duration::from_secs(120);

/// A folder with `tutti` and the two programs that it starts.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(coordinator: &[&str], worker: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::hard_link(env!("CARGO_BIN_EXE_tutti"), folder.path().join("tutti"))
            .unwrap_or_else(|_| write("cp \"$1\" \"$0\"", &folder.path().join("tutti"), env!("CARGO_BIN_EXE_tutti")));
        script(&folder.path().join("tutti-coordinator"), coordinator);
        script(&folder.path().join("tutti-worker"), worker);
        Self { folder }
    }

    fn obedient() -> Self {
        Self::new(&[OBEDIENT, COORDINATOR_READY, WAIT], &[OBEDIENT, WORKER_READY, WAIT])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path("tutti"));
        command.arg("up").current_dir(self.folder.path()).stderr(Stdio::piped());
        command
    }

    /// Starts the cluster and waits until it says that it is ready.
    fn up(&self) -> Up {
        Self::ready(self.command())
    }

    fn ready(mut command: Command) -> Up {
        let mut child = command.spawn().unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        messages.read_line(&mut line).unwrap();
        let up = Up { child, messages };
        assert!(line.contains("are ready"), "{line}");
        up
    }

    /// The processes that run one of the stage's scripts. Each leads a process group; what it forks does not.
    fn children(&self) -> Vec<u32> {
        let ours = self.folder.path().to_str().unwrap();
        let processes =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let runs_script = |pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let leads_group = status.split(' ').nth(4) == Some(&pid.to_string());
            line.contains(ours) && line.contains("/tutti-") && leads_group
        };
        processes.filter(runs_script).collect()
    }
}

struct Up {
    child: Child,
    messages: BufReader<std::process::ChildStderr>,
}

impl Up {
    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

/// A test that fails leaves no cluster behind either: the children end with their parent.
impl Drop for Up {
    fn drop(&mut self) {
        // It has ended already in a test that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn script(path: &Path, lines: &[&str]) {
    let text = format!("#!/bin/sh\n{}\n", lines.join("\n"));
    write("printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"", path, &text);
}

/// Has a process of its own write a program. A child that another test forks meanwhile would hold on to a file that this
/// process has open, and what is open for writing cannot be executed.
fn write(how: &str, path: &Path, from: &str) {
    assert!(Command::new("sh").args(["-c", how]).arg(path).arg(from).status().unwrap().success());
}

#[test]
fn a_cluster_comes_up_and_stops_cleanly() {
    for name in ["INT", "TERM"] {
        let stage = Stage::obedient();
        let mut up = stage.up();
        assert_eq!(fs::read_to_string(stage.path(".tutti/endpoint")).unwrap(), "127.0.0.1:7\n");
        assert_eq!(stage.children().len(), 3);
        up.signal(name);
        assert!(up.child.wait().unwrap().success());
        assert!(stage.children().is_empty());
        assert_eq!(fs::read_to_string(stage.path("tutti-worker.stopped")).unwrap().lines().count(), 2);
        assert!(stage.path("tutti-coordinator.stopped").exists());
        assert!(!stage.path(".tutti/endpoint").exists());
    }
}

#[test]
fn what_the_cluster_is_told_reaches_its_processes() {
    let says = "echo \"$*\" >>\"$0.arguments\"";
    let stage = Stage::new(&[OBEDIENT, says, COORDINATOR_READY, WAIT], &[OBEDIENT, says, WORKER_READY, WAIT]);
    let mut command = stage.command();
    command.args(["--workers", "1", "--artifacts", "s3://bucket/tutti", "--away-limit-s", "1800"]);
    let mut up = Stage::ready(command);
    up.signal("TERM");
    assert!(up.child.wait().unwrap().success());
    let arguments = |name: &str| fs::read_to_string(stage.path(&format!("{name}.arguments"))).unwrap();
    assert!(arguments("tutti-coordinator").ends_with(" --artifacts s3://bucket/tutti\n"));
    assert!(arguments("tutti-worker").ends_with(" --artifacts s3://bucket/tutti --away-limit-s 1800\n"));
}

#[test]
fn nothing_is_left_behind_when_it_is_killed() {
    let stage = Stage::obedient();
    let mut up = stage.up();
    up.signal("KILL");
    up.child.wait().unwrap();
    let until = Instant::now() + WITHIN;
    while !stage.children().is_empty() {
        assert!(Instant::now() < until, "left behind: {:?}", stage.children());
        std::thread::yield_now();
    }
}

#[test]
fn a_folder_in_use_is_refused() {
    let stage = Stage::obedient();
    let mut up = stage.up();
    let second = stage.command().output().unwrap();
    assert_fails(&second, 1, &["another `tutti up` (process", ".tutti", "--data-dir"]);
    up.signal("TERM");
    up.child.wait().unwrap();
}

#[test]
fn a_program_that_cannot_start_is_named_with_its_last_words() {
    let stage = Stage::new(&["echo 'port 7 is taken' >&2", "exit 3"], &[]);
    let output = stage.command().output().unwrap();
    assert_fails(&output, 1, &["coordinator ended (exit status: 3)", "coordinator.log", "port 7 is taken"]);
    fs::remove_file(stage.path("tutti-coordinator")).unwrap();
    assert_fails(&stage.command().output().unwrap(), 1, &["cannot start", "tutti-coordinator", "`make build`"]);
}

/// Kills the children that run a script.
fn kill(stage: &Stage, script: &str) {
    let runs = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().contains(script);
    stage.children().into_iter().filter(runs).for_each(|pid| signal(pid, "KILL"));
}

#[test]
fn whoever_crashes_is_started_again_where_it_was() {
    let listens = "echo \"listening on http://127.0.0.1:7\"; echo \"$*\" >>\"$0.arguments\"";
    let stage = Stage::new(&[OBEDIENT, listens, WAIT], &[OBEDIENT, WORKER_READY, WAIT]);
    let mut up = stage.up();
    for (script, backs) in [("tutti-coordinator", 1), ("tutti-worker", 2)] {
        kill(&stage, script);
        let mut said = String::new();
        for _ in 0..backs {
            while !said.ends_with("is back\n") {
                assert!(up.messages.read_line(&mut said).unwrap() > 0, "it has ended: {said}");
            }
            said.push(' ');
        }
        assert!(said.contains("signal: 9") && said.contains("is started again"), "{said}");
        assert_eq!(stage.children().len(), 3);
    }
    let starts = fs::read_to_string(stage.path("tutti-coordinator.arguments")).unwrap();
    let starts: Vec<_> = starts.lines().collect();
    assert!(starts[0].contains("127.0.0.1:0 ") && starts[1].contains("127.0.0.1:7 "), "{starts:?}");
    up.signal("TERM");
    assert!(up.child.wait().unwrap().success());
    assert!(stage.children().is_empty());
}

#[test]
fn whoever_does_not_stay_is_given_up() {
    // Ends at once when it is started for the second time.
    let fragile = "[ -e \"$0.started\" ] && { echo 'no memory' >&2; exit 4; }; touch \"$0.started\"";
    let stage = Stage::new(&[OBEDIENT, fragile, COORDINATOR_READY, WAIT], &[OBEDIENT, WORKER_READY, WAIT]);
    let mut up = stage.up();
    kill(&stage, "tutti-coordinator");
    assert_eq!(up.child.wait().unwrap().code(), Some(1));
    let mut messages = String::new();
    std::io::Read::read_to_string(&mut up.messages, &mut messages).unwrap();
    assert!(messages.contains("error: coordinator ended (exit status: 4)"), "{messages}");
    assert!(messages.contains("no memory") && messages.contains("6 times in a row and is given up"), "{messages}");
    assert!(stage.children().is_empty());
}

#[test]
fn a_worker_that_is_asked_to_stop_is_not_started_again() {
    let stage = Stage::obedient();
    let mut up = stage.up();
    let workers = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().contains("tutti-worker");
    stage.children().into_iter().filter(workers).for_each(|pid| signal(pid, "TERM"));
    assert_eq!(up.child.wait().unwrap().code(), Some(1), "without a worker nothing can go on");
    let mut messages = String::new();
    std::io::Read::read_to_string(&mut up.messages, &mut messages).unwrap();
    assert!(messages.contains("the other workers take over its tasks"), "{messages}");
    assert!(messages.contains("error: worker-") && messages.contains("exit status: 0"), "{messages}");
    assert!(stage.children().is_empty());
}

#[test]
fn an_invalid_job_is_refused_before_anything_starts() {
    let stage = Stage::obedient();
    fs::write(stage.path("job.yaml"), "name: x\n").unwrap();
    let output = stage.command().args(["--run", "job.yaml"]).output().unwrap();
    assert_fails(&output, 2, &["job.yaml is no valid job file"]);
    assert!(!stage.path(".tutti").exists(), "{}", stderr(&output));
}
