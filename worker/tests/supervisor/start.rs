//! A worker that cannot begin says why, and what to do.

use crate::coordinator::{Coordinator, Manner};
use crate::worker::{Worker, fake_engine, scripted_engine};
use ::worker::WorkerError;

#[tokio::test]
async fn a_missing_libtorch_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let line = "error while loading shared libraries: libtorch_cpu.so: cannot open shared object file";
    let engine = scripted_engine(&folder, &format!("echo 'tutti-engine: {line}' >&2\nexit 127"));
    let error = Worker::start_with("http://127.0.0.1:1", engine).end().await.unwrap_err().to_string();
    assert!(error.contains(line) && error.contains("exit status 127") && error.contains("`make setup`"), "{error}");
}

#[tokio::test]
async fn an_engine_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = scripted_engine(&folder, &format!("exec {} --pretend-version 9.9.9 \"$@\"", fake_engine().display()));
    let error = Worker::start_with("http://127.0.0.1:1", engine).end().await.unwrap_err().to_string();
    assert!(error.contains("the engine is of version 9.9.9"), "{error}");
}

#[tokio::test]
async fn a_coordinator_of_another_version_ends_the_worker() {
    let coordinator = Coordinator::start(Manner::refusing()).await;
    let error = Worker::start(&coordinator.url).end().await.unwrap_err();
    assert!(matches!(error, WorkerError::Refused(_)), "{error}");
    assert!(error.to_string().contains("this coordinator is of another version"), "{error}");
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let worker = Worker::start(&format!("http://{address}"));
    worker.stop().await.unwrap();
}
