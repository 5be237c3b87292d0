//! The gRPC server: which services, and within which bounds.

use crate::Shared;
use crate::services::limits::{
    KEEPALIVE_EVERY, KEEPALIVE_TIMEOUT, MESSAGE_BYTES_MAX, SESSION_MESSAGE_BYTES_MAX, STREAMS_PER_CONNECTION_MAX,
    WINDOW_BYTES,
};
use crate::services::{Admin, Artifacts, Jobs, Predictions, Workers};
use proto::v1::admin_server::AdminServer;
use proto::v1::artifacts_server::ArtifactsServer;
use proto::v1::jobs_server::JobsServer;
use proto::v1::predictions_server::PredictionsServer;
use proto::v1::workers_server::WorkersServer;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinError;
use tokio_stream::Stream;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A connection could not be taken, or a service not be built.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors do not decode.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server's task died.
    #[error("its task ended: {0}")]
    Died(#[from] JoinError),
}

/// A connection that a client has made.
pub trait Connection: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static {}

impl<IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static> Connection for IO {}

/// Serves until the coordinator stops and every open request has ended.
pub(crate) async fn serve<IO: Connection>(
    incoming: impl Stream<Item = io::Result<IO>>,
    shared: Shared,
) -> Result<(), ServerError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(health, shared.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let jobs = JobsServer::new(Jobs::new(shared.clone()));
    let workers = WorkersServer::new(Workers::new(shared.clone()));
    let artifacts = ArtifactsServer::new(Artifacts::new(shared.store.clone(), shared.claims.clone()));
    let admin = AdminServer::new(Admin::new(shared.clone()));
    let predictions = PredictionsServer::new(Predictions::new(shared.clone()));
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(jobs.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(
            workers
                .max_decoding_message_size(SESSION_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(SESSION_MESSAGE_BYTES_MAX),
        )
        .add_service(admin.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(artifacts.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(predictions.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .serve_with_incoming_shutdown(incoming, shared.stopping.cancelled_owned())
        .await?;
    Ok(())
}

/// Health by name: the services serve until the coordinator stops, but while the journal is stalled; an ensemble, named
/// by its job, while all its members answer.
async fn report_health(health: HealthReporter, shared: Shared) {
    let (mut ready, mut stall) = (shared.gateway.ready(), shared.driver.stall());
    loop {
        let is_stalled = stall.borrow_and_update().is_some();
        set_services(&health, !is_stalled).await;
        let predictors = ready.borrow_and_update().clone();
        for (job, ready) in &predictors {
            health.set_service_status(job.as_str(), status(*ready)).await;
        }
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            changed = stall.changed() => if changed.is_err() { break },
            () = shared.stopping.cancelled() => break,
        }
    }
    set_services(&health, false).await;
    let predictors = ready.borrow().clone();
    for job in predictors.keys() {
        health.set_service_status(job.as_str(), ServingStatus::NotServing).await;
    }
}

async fn set_services(health: &HealthReporter, serving: bool) {
    let services = [
        "",
        JobsServer::<Jobs>::NAME,
        WorkersServer::<Workers>::NAME,
        AdminServer::<Admin>::NAME,
        ArtifactsServer::<Artifacts>::NAME,
        PredictionsServer::<Predictions>::NAME,
    ];
    for service in services {
        health.set_service_status(service, status(serving)).await;
    }
}

fn status(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}
