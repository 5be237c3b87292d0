//! Who may join, what a worker may say, and what it is told.

use crate::bytes;
use crate::running::{Running, soon};
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
async fn a_name_belongs_to_one_process_at_a_time() {
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
    let gone = async {
        while !coordinator.workers().await.iter().any(|worker| worker.id == name && !worker.connected) {
            tokio::task::yield_now().await;
        }
    };
    soon(gone).await;
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

/// The attempt that each run of the job is at.
async fn attempts(coordinator: &Running, job: &str) -> Vec<u32> {
    let mut watch = coordinator.jobs().watch(v1::WatchRequest { job: job.into() }).await.unwrap().into_inner();
    soon(watch.message()).await.unwrap().unwrap().runs.iter().map(|run| run.attempt).collect()
}

#[tokio::test]
async fn a_broken_stream_keeps_the_lease_and_takes_each_report_once() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let (mut worker, _) = Worker::rejoin(&coordinator, "w", 7, None).await;
    let key = worker.lease().await.key.unwrap();
    let model = stored(&key, 0, worker.upload(&bytes::model(0.0)).await);
    worker.report_as(1, model.clone()).await;
    leave(&coordinator, worker, "w").await;

    // Whether the record was heard or not, the worker sends it again, and then the rest.
    let (mut worker, kept) = Worker::rejoin(&coordinator, "w", 7, Some(key.clone())).await;
    assert_eq!(kept, std::slice::from_ref(&key));
    worker.report_as(1, model).await;
    worker.hear_recorded(1).await;
    let finished = Message::Finished(v1::TaskFinished { key: Some(key.clone()), artifact: None });
    worker.report_as(2, finished.clone()).await;
    worker.hear_recorded(2).await;
    leave(&coordinator, worker, "w").await;

    let (mut worker, kept) = Worker::rejoin(&coordinator, "w", 7, Some(key)).await;
    assert_eq!(kept, [], "what is done is not held any more");
    assert!(matches!(worker.hear().await, Order::Revoke(_)));
    worker.report_as(2, finished).await;
    assert!(matches!(worker.hear().await, Order::Revoke(_)));
    worker.hear_recorded(2).await;
    assert_eq!(attempts(&coordinator, &job).await, [1, 0]);
    worker.work(3).await;
    assert_eq!(coordinator.to_its_end(&job).await.phase(), v1::JobPhase::Done);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_coordinator_takes_no_lease_away() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let (mut worker, _) = Worker::rejoin(&coordinator, "w", 7, None).await;
    let lease = worker.lease().await;
    coordinator.stop().await;
    let status = worker.hear_the_end().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "the worker knocks again");

    let coordinator = Running::start(folder.path()).await;
    let (mut worker, kept) = Worker::rejoin(&coordinator, "w", 7, lease.key.clone()).await;
    assert_eq!(kept, [lease.key.clone().unwrap()]);
    worker.carry_out(lease).await;
    worker.work(3).await;
    assert_eq!(coordinator.to_its_end(&job).await.phase(), v1::JobPhase::Done);
    assert_eq!(attempts(&coordinator, &job).await, [1, 1]);
    coordinator.stop().await;
}

#[tokio::test]
async fn who_returns_late_is_fenced_off() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let (mut late, _) = Worker::rejoin(&coordinator, "late", 7, None).await;
    let stale = late.lease().await.key.unwrap();
    leave(&coordinator, late, "late").await;
    // Another process on that host knows nothing of the task, which is given to the next that asks.
    let (anew, _) = Worker::rejoin(&coordinator, "late", 8, None).await;
    leave(&coordinator, anew, "late").await;
    let mut other = Worker::join(&coordinator, "other").await;
    let live = other.lease().await.key.unwrap();
    assert_eq!((live.task.as_str(), live.attempt), (stale.task.as_str(), 2));

    let (mut late, kept) = Worker::rejoin(&coordinator, "late", 7, Some(stale.clone())).await;
    assert_eq!(kept, []);
    let Order::Revoke(revoke) = late.hear().await else { panic!("what it holds is taken from it") };
    assert_eq!(revoke.key, Some(stale.clone()));
    let model = late.upload(&bytes::model(9.0)).await;
    let finished = Message::Finished(v1::TaskFinished { key: Some(stale.clone()), artifact: None });
    for message in [stored(&stale, 0, model), finished] {
        let report = late.report(message).await;
        assert!(matches!(late.hear().await, Order::Revoke(_)));
        late.hear_recorded(report).await;
    }
    let members = coordinator.jobs().list_members(v1::ListMembersRequest { job: job.clone() }).await.unwrap();
    assert!(members.into_inner().members.iter().all(|member| member.digest.is_empty()), "nothing of it counted");
    assert_eq!(attempts(&coordinator, &job).await, [2, 0]);
    coordinator.stop().await;
}

/// As after a cable was pulled: the worker knows that its stream is dead, and the coordinator does not.
#[tokio::test]
async fn a_process_takes_the_place_of_its_own_half_open_session() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    coordinator.submit("").await;
    let (mut dead, _) = Worker::rejoin(&coordinator, "w", 7, None).await;
    let key = dead.lease().await.key.unwrap();
    let (_alive, kept) = Worker::rejoin(&coordinator, "w", 7, Some(key.clone())).await;
    assert_eq!(kept, [key]);
    assert_eq!(dead.hear_the_end().await.unwrap_err().code(), Code::Unavailable);
    coordinator.stop().await;
}

#[tokio::test]
async fn reports_come_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    coordinator.submit("").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let key = worker.lease().await.key.unwrap();
    let model = stored(&key, 0, worker.upload(&bytes::model(0.0)).await);
    worker.report_as(5, model.clone()).await;
    worker.hear_recorded(5).await;
    worker.report_as(4, model).await;
    let status = worker.hear_the_end().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("report 4 came after report 5"), "{status}");
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
