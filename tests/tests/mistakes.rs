//! Mistakes that users make, and what they read then: the thing, the value, the remedy.
#![allow(clippy::unwrap_used)]

use proto::v1::from_worker::Message;
use proto::v1::workers_client::WorkersClient;
use proto::v1::{FromWorker, Hello};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{Cluster, cut_fashion_mnist, program, run, text};

/// What a failing command writes to its standard error stream, after its exit code was checked.
fn complaint(command: &mut Command, code: i32) -> String {
    let output = run(command);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}\n{stderr}", text(&output.stdout));
    stderr
}

#[track_caller]
fn assert_says(complaint: &str, words: &[&str]) {
    for word in words {
        assert!(complaint.contains(word), "`{word}` is not in:\n{complaint}");
    }
}

fn job_file(folder: &Path, data: &Path) -> PathBuf {
    let file = folder.join("job.yaml");
    let job = format!(
        "name: mistake\ndata: {{format: idx, path: {}}}\nmodel: {{architecture: {{mlp: {{}}}}}}\n\
         train: {{epochs: 1}}\nmembers: [seeds: {{count: 1}}]\n",
        data.display()
    );
    std::fs::write(&file, job).unwrap();
    file
}

#[test]
fn a_cluster_refuses_what_cannot_work_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&folder.path().join("cluster"));
    missing_data(&cluster, folder.path());
    data_cut_short(&cluster, folder.path());
    another_version(&cluster.endpoint());
    assert!(cluster.stop().success());
}

/// The coordinator's and the command's machine need not have the data: a worker finds out.
fn missing_data(cluster: &Cluster, folder: &Path) {
    let file = job_file(folder, Path::new("no/such/folder"));
    let said = complaint(cluster.command(&["run"]).arg(&file), 1);
    let missing = "none of train-images-idx3-ubyte, train-images-idx3-ubyte.gz is in the data folder";
    assert_says(&said, &["job `mistake-1` failed", "no/such/folder", missing, "check `data.path`"]);
}

/// The headers are whole, so that only reading all of it shows what is missing.
fn data_cut_short(cluster: &Cluster, folder: &Path) {
    let data = folder.join("short");
    std::fs::create_dir(&data).unwrap();
    cut_fashion_mnist(&data);
    let images = data.join("train-images-idx3-ubyte.gz");
    let whole = std::fs::read(&images).unwrap();
    std::fs::write(&images, &whole[..whole.len() / 2]).unwrap();
    let said = complaint(cluster.command(&["run"]).arg(job_file(folder, &data)), 1);
    assert_says(&said, &["job `mistake-2` failed", "train-images-idx3-ubyte.gz", "fetch it again"]);
}

/// A worker of another version is turned away with both versions and the remedy.
fn another_version(endpoint: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refusal = runtime.block_on(async {
        let mut client = WorkersClient::connect(format!("http://{endpoint}")).await.unwrap();
        let hello = Hello { worker: "old".to_owned(), version: "0.0.1".to_owned(), ..Hello::default() };
        let (sender, messages) = tokio::sync::mpsc::channel(1);
        sender.send(FromWorker { message: Some(Message::Hello(hello)), report: 0 }).await.unwrap();
        let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
        match client.session(messages).await {
            Err(status) => status,
            Ok(session) => session.into_inner().message().await.unwrap_err(),
        }
    });
    assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
    assert_says(refusal.message(), &["0.0.1", env!("CARGO_PKG_VERSION"), "install the same version"]);
}

#[test]
fn data_that_are_something_else_are_named_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    cut_fashion_mnist(&data);
    let file = job_file(folder.path(), &data);
    let (images, labels) = (data.join("train-images-idx3-ubyte.gz"), data.join("train-labels-idx1-ubyte.gz"));
    let mut validate = Command::new(program("tutti"));
    validate.arg("validate").arg(&file);

    std::fs::copy(&labels, &images).unwrap();
    assert_says(
        &complaint(&mut validate, 2),
        &["train-images-idx3-ubyte.gz", "0x00000801", "not an IDX file of images"],
    );
    let whole = std::fs::read(&labels).unwrap();
    std::fs::write(&images, &whole[..10]).unwrap();
    assert_says(&complaint(&mut validate, 2), &["train-images-idx3-ubyte.gz cannot be decompressed", "fetch it again"]);
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut coordinator = Command::new(program("tutti-coordinator"));
    coordinator.args(["--listen", &address, "--data-dir"]).arg(folder.path());
    assert_says(&complaint(&mut coordinator, 1), &[&address, "in use", "--listen"]);
}

#[test]
fn a_cluster_that_is_not_there_is_missed_with_the_remedy() {
    let mut command = Command::new(program("tutti"));
    command.args(["get", "jobs", "--coordinator", "127.0.0.1:1"]);
    assert_says(&complaint(&mut command, 1), &["no coordinator answers at 127.0.0.1:1", "`tutti up`", "--coordinator"]);
}

#[test]
fn a_worker_without_its_engine_says_where_it_looked() {
    let mut command = Command::new(program("tutti-worker"));
    command.args(["--engine", "/no/such/engine"]);
    assert_says(&complaint(&mut command, 1), &["/no/such/engine", "make build", "--engine"]);
}

/// A library of the right name that is none stands for one that is missing or of another version: the loader refuses it.
#[test]
fn an_unusable_libtorch_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libtorch_cpu.so"), "").unwrap();
    let mut command = Command::new(program("tutti-worker"));
    command.arg("--data-dir").arg(folder.path().join("data")).env("LD_LIBRARY_PATH", folder.path());
    assert_says(&complaint(&mut command, 1), &["libtorch_cpu.so", "exit status 127", "`make setup`"]);
}
