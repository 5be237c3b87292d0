//! The worker as a process of its own: what it prints, how it exits, and that nothing outlives it.

use crate::coordinator::{Coordinator, Manner};
use crate::worker::{fake_engine, is_running, until_gone, within_reason};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

fn start(coordinator: &Coordinator, folder: &TempDir) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tutti-worker"));
    command.args(["--coordinator", &coordinator.url, "--devices", "cpu", "--engine"]).arg(fake_engine());
    command.arg("--data-dir").arg(folder.path()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn signal(child: &Child, name: &str) {
    let process = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &process]).status().await.unwrap().success());
}

#[tokio::test]
async fn it_says_when_it_has_joined_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let mut worker = start(&coordinator, &folder);
    let mut session = coordinator.session().await;
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    assert_eq!(within_reason(lines.next_line()).await.unwrap().as_deref(), Some("joined"));
    assert_eq!(session.told().await, "ready 0");
    signal(&worker, "-TERM").await;
    assert_eq!(session.told().await, "drained");
    assert_eq!(within_reason(worker.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn an_engine_does_not_outlive_a_killed_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let mut worker = start(&coordinator, &folder);
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    session.train("t", "pid; until-stopped", None).await;
    let engine = session.told().await.replace("t log ", "");
    assert!(is_running(&engine));
    signal(&worker, "-KILL").await;
    within_reason(worker.wait()).await.unwrap();
    until_gone(&engine).await;
}

#[tokio::test]
async fn a_refused_worker_exits_with_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::start(Manner::refusing()).await;
    let ended = within_reason(start(&coordinator, &folder).wait_with_output()).await.unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("refuses this worker: this coordinator is of another version"), "{stderr}");
}
