//! What stock gRPC tools see, and how a coordinator starts and ends.

use crate::running::{Running, soon};
use crate::worker::Worker;
use coordinator::journal::{Entry, Journal, SqliteJournal};
use coordinator::{Coordinator, Settings};
use ensemble::cluster::Command;
use ensemble::id::JobId;
use proto::v1;
use std::collections::BTreeSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::{v1::ServerReflectionRequest, v1alpha};

#[tokio::test]
async fn stock_tools_find_the_services_and_their_health() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let mut health = HealthClient::new(coordinator.channel.clone());
    for service in ["", "tutti.v1.Jobs", "tutti.v1.Workers", "tutti.v1.Artifacts", "tutti.v1.Predictions"] {
        let reply = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(reply.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let services = services(&coordinator).await;
    for service in ["tutti.v1.Jobs", "tutti.v1.Predictions", "grpc.health.v1.Health"] {
        assert!(services.contains(service), "{services:?}");
    }
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(coordinator.channel.clone());
    let request = v1alpha::ServerReflectionRequest::default();
    assert!(old.server_reflection_info(tokio_stream::iter([request])).await.is_ok(), "older tools ask for v1alpha");
    coordinator.stop().await;
}

async fn services(coordinator: &Running) -> BTreeSet<String> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut reflection = ServerReflectionClient::new(coordinator.channel.clone());
    let mut replies = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    match soon(replies.message()).await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|service| service.name).collect(),
        other => panic!("a list of services was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn it_ends_although_streams_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let mut watch = coordinator.jobs().watch(v1::WatchRequest { job }).await.unwrap().into_inner();
    soon(watch.message()).await.unwrap();
    coordinator.stop().await;
    assert!(soon(watch.message()).await.is_err());
    assert!(worker.hear_the_end().await.is_err());
}

#[tokio::test]
async fn a_second_coordinator_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Running::start(folder.path()).await;
    let second = Coordinator::open(Settings::new(folder.path().to_owned())).await.unwrap_err().to_string();
    assert!(second.contains("another coordinator uses") && second.contains("--data-dir"), "{second}");
    first.stop().await;
    Running::start(folder.path()).await.stop().await;
}

#[tokio::test]
async fn a_damaged_journal_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    Running::start(folder.path()).await.stop().await;
    std::fs::write(folder.path().join("journal.sqlite"), "no journal".repeat(1000)).unwrap();
    let error = Coordinator::open(Settings::new(folder.path().to_owned())).await.unwrap_err().to_string();
    assert!(error.contains("journal.sqlite is damaged") && error.contains("move it away"), "{error}");
}

#[tokio::test]
async fn a_journal_that_this_version_cannot_replay_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(&folder.path().join("journal.sqlite")).unwrap();
    let impossible = Command::Cancel { job: JobId::new("nothing-7") };
    journal.append(1, &[Entry { at: 1, command: impossible }]).unwrap();
    drop(journal);
    let error = Coordinator::open(Settings::new(folder.path().to_owned())).await.unwrap_err().to_string();
    assert!(error.contains("entry 1") && error.contains("nothing-7") && error.contains("version"), "{error}");
}

#[tokio::test]
async fn a_lease_must_outlast_its_heartbeats() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { heartbeat_ms: 10_000, ..Settings::new(folder.path().to_owned()) };
    let error = Coordinator::open(settings).await.unwrap_err().to_string();
    assert!(error.contains("15000 ms") && error.contains("10000 ms"), "{error}");
}
