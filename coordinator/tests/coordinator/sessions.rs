//! Who may join, what a worker may say, and what it is told.

use crate::bytes;
use crate::running::Running;
use crate::worker::{Worker, stored};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, Artifact, Heartbeat};
use tonic::Code;

#[tokio::test]
async fn a_worker_of_another_version_is_refused_with_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let status = Worker::knock(&coordinator, "w", "0.0.7").await.err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("0.0.7") && status.message().contains(coordinator::VERSION), "{status}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_name_belongs_to_one_session_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let first = Worker::join(&coordinator, "w").await;
    let status = Worker::knock(&coordinator, "w", coordinator::VERSION).await.err().unwrap();
    assert_eq!(status.code(), Code::AlreadyExists);
    leave(&coordinator, first, "w").await;
    Worker::join(&coordinator, "w").await;
    coordinator.stop().await;
}

/// Breaks a session off, and waits until the coordinator knows.
async fn leave(coordinator: &Running, worker: Worker, name: &str) {
    drop(worker);
    loop {
        let workers = coordinator.jobs().list_workers(v1::ListWorkersRequest {}).await.unwrap().into_inner().workers;
        if workers.iter().any(|worker| worker.id == name && !worker.connected) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_heartbeat_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let mut worker = Worker::join(&coordinator, "w").await;
    worker.say(Message::Heartbeat(Heartbeat {})).await;
    assert!(matches!(worker.hear().await, Order::Renewed(_)));
    coordinator.stop().await;
}

#[tokio::test]
async fn who_returns_late_is_fenced_off() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    coordinator.submit("").await;
    let mut late = Worker::join(&coordinator, "late").await;
    let stale = late.lease().await.key.unwrap();
    leave(&coordinator, late, "late").await;
    let mut other = Worker::join(&coordinator, "other").await;
    let live = other.lease().await.key.unwrap();
    assert_eq!((live.task.as_str(), live.attempt), (stale.task.as_str(), 2));

    let mut late = Worker::join(&coordinator, "late").await;
    let model = late.upload(&bytes::model(9.0)).await;
    late.say(stored(&stale, 0, model.clone())).await;
    let Order::Revoke(revoke) = late.hear().await else { panic!("a stale attempt is told to stop") };
    assert_eq!(revoke.key, Some(stale.clone()));
    late.say(Message::Finished(v1::TaskFinished { key: Some(stale), artifact: None })).await;
    assert!(matches!(late.hear().await, Order::Revoke(_)));
    let members = coordinator.jobs().list_members(v1::ListMembersRequest { job: "shapes-1".into() }).await.unwrap();
    assert!(members.into_inner().members.iter().all(|member| member.digest.is_empty()), "nothing of it counted");
    coordinator.stop().await;
}

#[tokio::test]
async fn what_was_not_uploaded_cannot_be_committed() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    coordinator.submit("").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let key = worker.lease().await.key.unwrap();
    let report = worker.report(stored(&key, 0, Artifact { digest: "0".repeat(64), bytes: 7 })).await;
    worker.hear_recorded(report).await;
    let members = coordinator.jobs().list_members(v1::ListMembersRequest { job: "shapes-1".into() }).await.unwrap();
    assert!(members.into_inner().members.iter().all(|member| member.digest.is_empty()));
    let report = worker.report(stored(&key, 0, worker.upload(&bytes::model(9.0)).await)).await;
    assert!(matches!(worker.hear().await, Order::Revoke(_)), "the attempt has failed");
    worker.hear_recorded(report).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_takes_its_leases_back() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let key = worker.lease().await.key;
    coordinator.jobs().cancel(v1::CancelRequest { job: job.clone() }).await.unwrap();
    let Order::Revoke(revoke) = worker.hear().await else { panic!("the task is taken back") };
    assert_eq!(revoke.key, key);
    assert_eq!(coordinator.to_its_end(&job).await.phase(), v1::JobPhase::Cancelled);
    coordinator.stop().await;
}
