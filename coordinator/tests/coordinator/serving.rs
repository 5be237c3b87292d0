//! A served ensemble: placed, asked, and honest about who is missing.

use crate::bytes;
use crate::running::{Running, soon};
use crate::worker::Worker;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, DataType, Host, Hosted, MemberLogits, Predict, PredictReply, PredictRequest, Predicted, Tensor};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// One image of one pixel.
fn request(job: &str) -> PredictRequest {
    let inputs = Tensor { data_type: DataType::Uint8.into(), shape: vec![1, 1, 1, 1], data: vec![7].into() };
    PredictRequest { job: job.into(), inputs: Some(inputs) }
}

async fn predict(coordinator: &Running, request: PredictRequest) -> Result<PredictReply, Status> {
    soon(coordinator.predictions().predict(request)).await.map(tonic::Response::into_inner)
}

/// Trains and evaluates the two members, and gets the order to host what it holds of them.
async fn served(coordinator: &Running, more: &str) -> (String, Worker, Host) {
    let job = coordinator.submit(more).await;
    let mut worker = Worker::join(coordinator, "w").await;
    worker.work(4).await;
    coordinator.to_its_end(&job).await;
    let Order::Host(host) = worker.hear().await else { panic!("a done job is placed") };
    (job, worker, host)
}

async fn load(worker: &Worker, host: &Host) {
    let hosted = Hosted { predictor: host.predictor.clone(), error: String::new() };
    worker.say(Message::Hosted(hosted)).await;
}

async fn heard_predict(worker: &mut Worker) -> Predict {
    match worker.hear().await {
        Order::Predict(predict) => predict,
        other => panic!("inputs were expected, not {other:?}"),
    }
}

/// Answers as members that were asked about sample 2.
async fn answer(worker: &Worker, predict: Predict, members: &[u32]) {
    let logits = |&member: &u32| MemberLogits {
        member,
        logits: bytes::logits(member as usize)[4..6].iter().flat_map(|logit| logit.to_le_bytes()).collect(),
        classes: 2,
    };
    let Predict { request, predictor, .. } = predict;
    let members = members.iter().map(logits).collect();
    worker.say(Message::Predicted(Predicted { request, predictor, members, ..Predicted::default() })).await;
}

/// Waits until the health service says so of the job.
async fn healthy(coordinator: &Running, job: &str) {
    let mut health = HealthClient::new(coordinator.channel.clone());
    let serving = async {
        // It knows no job before it is placed.
        while !matches!(
            health.check(HealthCheckRequest { service: job.into() }).await,
            Ok(reply) if reply.get_ref().status() == ServingStatus::Serving
        ) {}
    };
    soon(serving).await;
}

fn entropy(p: &[f64]) -> f64 {
    p.iter().map(|p| -p * p.ln()).sum()
}

#[tokio::test]
async fn members_are_asked_and_combined_as_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let (job, mut worker, host) = served(&coordinator, "serve: {}").await;
    assert_eq!(host.models.iter().map(|model| model.member).collect::<Vec<_>>(), [0, 1]);
    load(&worker, &host).await;
    healthy(&coordinator, &job).await;

    let members = async {
        let asked = heard_predict(&mut worker).await;
        assert_eq!(asked.inputs.as_ref().unwrap().data.as_ref(), [7]);
        answer(&worker, asked, &[1, 0]).await;
    };
    let (reply, ()) = tokio::join!(predict(&coordinator, request(&job)), members);
    let reply = reply.unwrap();
    let prediction = &reply.predictions[0];
    assert_eq!((reply.predictions.len(), reply.members_answered, reply.members_total), (1, 2, 2));
    assert_eq!((prediction.class, prediction.members_agreeing), (1, 1));
    let (total, own) = (entropy(&[0.45, 0.55]), (entropy(&[0.8, 0.2]) + entropy(&[0.1, 0.9])) / 2.0);
    let found = [
        prediction.probabilities[0],
        prediction.probabilities[1],
        prediction.predictive_entropy,
        prediction.mutual_information,
    ];
    for (found, expected) in found.into_iter().zip([0.45, 0.55, total, total - own]) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn below_the_quorum_the_answer_names_who_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let (job, mut worker, host) = served(&coordinator, "serve: {}").await;
    let status = predict(&coordinator, request(&job)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("`seed-1` (worker `w` is loading it)"), "{status}");

    load(&worker, &host).await;
    healthy(&coordinator, &job).await;
    let members = async {
        let asked = heard_predict(&mut worker).await;
        answer(&worker, asked, &[0]).await;
    };
    let (reply, ()) = tokio::join!(predict(&coordinator, request(&job)), members);
    let status = reply.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("1 of 2 members"), "{status}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_quorum_answers_when_a_worker_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let mut other = Worker::join(&coordinator, "other").await;
    let (job, mut worker, host) = served(&coordinator, "serve: {min_members: 1}").await;
    let Order::Host(others) = other.hear().await else { panic!("members go round the workers") };
    assert_eq!((host.models.len(), others.models.len()), (1, 1));
    load(&worker, &host).await;
    load(&other, &others).await;
    healthy(&coordinator, &job).await;

    let members = async {
        let _ = heard_predict(&mut other).await;
        let asked = heard_predict(&mut worker).await;
        let left = host.models[0].member;
        answer(&worker, asked, &[left]).await;
        drop(other);
    };
    let (reply, ()) = tokio::join!(predict(&coordinator, request(&job)), members);
    let reply = reply.unwrap();
    assert_eq!((reply.members_answered, reply.members_total), (1, 2));
    let Order::Host(all) = worker.hear().await else { panic!("the lost member moves") };
    assert_eq!(all.models.len(), 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn who_asks_wrongly_is_told_how() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let (job, worker, host) = served(&coordinator, "serve: {}").await;
    load(&worker, &host).await;
    healthy(&coordinator, &job).await;
    let misshapen = PredictRequest { inputs: Some(Tensor { shape: vec![1, 1], ..request(&job).inputs.unwrap() }), job };
    let status = predict(&coordinator, misshapen).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("[rows, 1, 1, 1]"), "{status}");
    assert_eq!(predict(&coordinator, request("nothing-7")).await.unwrap_err().code(), Code::NotFound);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_job_that_is_not_served_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let status = predict(&coordinator, request(&job)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("serve: {}"), "{status}");
    let request = v1::GetReportRequest { job };
    assert_eq!(coordinator.jobs().get_report(request).await.unwrap_err().code(), Code::FailedPrecondition);
    coordinator.stop().await;
}
