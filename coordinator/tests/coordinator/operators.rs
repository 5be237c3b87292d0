//! What operators ask: workers drained and reinstated, shares, pins and garbage.

use crate::running::Running;
use crate::worker::Worker;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, CollectGarbageRequest, DrainWorkerRequest, PinRequest, ReinstateWorkerRequest, SetShareRequest};
use tonic::Code;

async fn standing(coordinator: &Running) -> String {
    coordinator.workers().await.into_iter().map(|worker| worker.standing).collect()
}

#[tokio::test]
async fn a_drained_worker_hands_its_task_back_and_gets_it_again_once_reinstated() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    coordinator.submit("").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let key = worker.lease().await.key.unwrap();
    coordinator.admin().drain_worker(DrainWorkerRequest { worker: "w".into() }).await.unwrap();
    let Order::Yield(asked) = worker.hear().await else { panic!("the lease is asked back") };
    assert_eq!((asked.key, standing(&coordinator).await.as_str()), (Some(key.clone()), "draining"));

    let report = worker.report(Message::Yielded(v1::Yielded { key: Some(key.clone()) })).await;
    worker.hear_recorded(report).await;
    worker.say(Message::Ready(v1::Ready { slot: 0 })).await;
    worker.say(Message::Heartbeat(v1::Heartbeat {})).await;
    assert!(matches!(worker.hear().await, Order::Renewed(_)), "a drained worker gets nothing");
    assert_eq!(standing(&coordinator).await, "drained");

    coordinator.admin().reinstate_worker(ReinstateWorkerRequest { worker: "w".into() }).await.unwrap();
    let Order::Lease(again) = worker.hear().await else { panic!("there is a task again") };
    let again = again.key.unwrap();
    assert_eq!((again.task, again.attempt), (key.task, 2));
    let unknown = coordinator.admin().drain_worker(DrainWorkerRequest { worker: "x".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    coordinator.stop().await;
}

#[tokio::test]
async fn shares_and_pins_are_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let share = |weight| SetShareRequest { namespace: "vision".into(), weight };
    coordinator.admin().set_share(share(3)).await.unwrap();
    assert_eq!(coordinator.admin().set_share(share(0)).await.unwrap_err().code(), Code::InvalidArgument);
    let digest = "a".repeat(64);
    coordinator.admin().pin(PinRequest { digest: digest.clone() }).await.unwrap();
    let nonsense = coordinator.admin().pin(PinRequest { digest: "A".into() }).await.unwrap_err();
    assert_eq!(nonsense.code(), Code::InvalidArgument);
    coordinator.stop().await;

    let coordinator = Running::start(folder.path()).await;
    let shares = coordinator.admin().list_shares(v1::ListSharesRequest {}).await.unwrap().into_inner().shares;
    assert!(shares.iter().any(|share| (share.namespace.as_str(), share.weight) == ("vision", 3)), "{shares:?}");
    let pins = coordinator.admin().list_pins(v1::ListPinsRequest {}).await.unwrap().into_inner().digests;
    assert_eq!(pins, std::slice::from_ref(&digest));
    coordinator.admin().unpin(v1::UnpinRequest { digest }).await.unwrap();
    assert_eq!(coordinator.admin().list_pins(v1::ListPinsRequest {}).await.unwrap().into_inner().digests.len(), 0);
    let collect = CollectGarbageRequest { dry_run: true };
    let collected = coordinator.admin().collect_garbage(collect).await.unwrap().into_inner();
    assert_eq!((collected.removed.len(), collected.kept_bytes), (0, 0));
    coordinator.stop().await;
}

#[tokio::test]
async fn a_backup_of_a_running_coordinator_brings_its_jobs_back() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(&folder.path().join("first")).await;
    let job = coordinator.submit("").await;
    let mut chunks = coordinator.admin().backup(v1::BackupRequest {}).await.unwrap().into_inner();
    let mut backup = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        backup.extend_from_slice(&chunk.data);
    }
    coordinator.stop().await;

    let (file, second) = (folder.path().join("backup"), folder.path().join("second"));
    std::fs::write(&file, backup).unwrap();
    coordinator::backup::restore(&file, &second).unwrap();
    let coordinator = Running::start(&second).await;
    let jobs = coordinator.jobs().list_jobs(v1::ListJobsRequest {}).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    coordinator.stop().await;
}
