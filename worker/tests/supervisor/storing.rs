//! Artifacts, when the store has no room, is slow, or is reached another way.

use crate::coordinator::{Coordinator, Manner, Session, Uploads};
use crate::worker::{Pipe, Worker};
use artifacts::Store;
use std::path::Path;

async fn joined(coordinator: &mut Coordinator, worker: Worker) -> (Worker, Session) {
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    (worker, session)
}

#[tokio::test]
async fn a_store_without_room_is_waited_for_and_the_log_says_so_once() {
    let mut coordinator = Coordinator::start(Manner { uploads: Uploads::Failing(3), ..Manner::usual() }).await;
    let worker = Worker::start(&coordinator.url);
    let (worker, mut session) = joined(&mut coordinator, worker).await;
    session.train("t", "finish predictions", None).await;
    let told = session.tell(4).await;
    assert!(told[0].starts_with("t log waiting, and trying again: cannot upload artifact"), "{told:?}");
    assert!(told[0].ends_with("the disk is full (ResourceExhausted)"), "{told:?}");
    let rest = ["t log the transfer went through, and the task goes on", "t finished: predictions", "ready 0"];
    assert_eq!(told[1..], rest);
    assert_eq!(coordinator.events(), ["welcome", "upload", "upload", "upload", "upload"]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn an_engine_never_waits_for_uploads_and_only_the_newest_checkpoint_is_worth_its_way() {
    let mut coordinator = Coordinator::start(Manner { away: false, ..Manner::usual() }).await;
    let worker = Worker::start(&coordinator.url);
    let (worker, mut session) = joined(&mut coordinator, worker).await;
    let pipe = Pipe::new(&worker, "pipe");
    coordinator.change(|manner| manner.uploads = Uploads::Failing(u32::MAX));
    let checkpoints: String = (1..=2000).map(|step| format!("passing {step}; ")).collect();
    session.train("t", &format!("{checkpoints}{}; finish", pipe.act()), None).await;
    assert!(session.told().await.starts_with("t log waiting"));
    // It waits here, having handed over two thousand files.
    pipe.let_go().await;
    coordinator.change(|manner| manner.uploads = Uploads::Stored);
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "ready 0") {
        told.push(session.told().await);
    }
    let last = "t checkpoint of run 0 at step 2000 for branch None: 2000";
    assert_eq!(told[told.len() - 3..], [last, "t finished: nothing", "ready 0"]);
    // The one on its way when nothing went, the newest, and whatever was so while the worker still read of the others.
    let stored = told.iter().filter(|line| line.starts_with("t checkpoint of run 0")).count();
    assert!((2..20).contains(&stored), "{told:?}");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_knows_the_store_goes_there_itself() {
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("store");
    let store = Store::open_folder(location.clone()).unwrap();
    let model = put(&store, folder.path(), "the model's bytes").await;
    let worker = Worker::start_as(&coordinator.url, |config| {
        config.artifacts = Some(location.to_string_lossy().parse().unwrap());
    });
    let (worker, mut session) = joined(&mut coordinator, worker).await;
    session.evaluate("t", "inputs; finish predictions", model).await;
    let predictions = put(&store, folder.path(), "predictions").await;
    let finished = format!("t finished: {} elsewhere", predictions.digest);
    assert_eq!(session.tell(2).await, ["t log the model's bytes".to_owned(), finished]);
    assert_eq!(coordinator.events(), ["welcome"], "nothing went by the coordinator");
    worker.stop().await.unwrap();
}

async fn put(store: &Store, folder: &Path, content: &str) -> proto::v1::Artifact {
    let path = folder.join("file");
    std::fs::write(&path, content).unwrap();
    let artifact = store.put_file(&path).await.unwrap();
    proto::v1::Artifact { digest: artifact.digest.to_string(), bytes: artifact.bytes }
}
