//! A job from its submission to its report, also across restarts.

use crate::bytes;
use crate::running::{Running, soon};
use crate::worker::Worker;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::{self, JobPhase};

/// Two trainings and two evaluations.
const TASKS: usize = 4;

#[tokio::test]
async fn a_job_becomes_a_report_with_the_figures_of_its_members() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("average: [{soup: {of: seeds, force: true}}]").await;
    assert_eq!(coordinator.submit("").await, job, "the same key is the same job");
    let mut worker = Worker::join(&coordinator, "w").await;
    worker.work(TASKS + 1).await;
    let end = coordinator.to_its_end(&job).await;
    assert_eq!((end.phase(), end.members_ready, end.detail.as_str()), (JobPhase::Done, 2, ""));

    let report = coordinator.report(&job).await;
    let names: Vec<_> = report.members.iter().chain(&report.averages).map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["seed-0", "seed-1", "soup"]);
    assert_eq!((report.weights, report.temperature, report.disagreement), (vec![0.5, 0.5], 1.0, Some(0.5)));
    let ensemble = report.ensemble.test.unwrap();
    let nll = -[0.825_f64, 0.625, 0.55, 0.775].map(f64::ln).iter().sum::<f64>() / 4.0;
    assert_eq!((ensemble.accuracy, report.members[0].test.unwrap().accuracy), (1.0, 0.75));
    assert!((ensemble.nll - nll).abs() < 1e-6, "{} is not {nll}", ensemble.nll);
    assert!((report.averages[0].test.unwrap().nll - 2.0_f64.ln()).abs() < 1e-12);

    check_log(&coordinator, &job).await;
    check_models(&coordinator, &job).await;
    coordinator.stop().await;
}

async fn check_log(coordinator: &Running, job: &str) {
    let of_job = || v1::LogsRequest { job: job.into(), ..v1::LogsRequest::default() };
    let both = ["seed-0 is trained", "seed-1 is trained"];
    assert_eq!(log(coordinator, v1::LogsRequest { follow: true, ..of_job() }).await.unwrap(), both);
    assert_eq!(log(coordinator, v1::LogsRequest { tail: 1, ..of_job() }).await.unwrap(), both[1..]);
    assert_eq!(log(coordinator, v1::LogsRequest { tail: 9, ..of_job() }).await.unwrap(), both);
    let of_first = v1::LogsRequest { task: format!("{job}/train/0"), tail: 1, follow: true, ..of_job() };
    assert_eq!(log(coordinator, of_first).await.unwrap(), both[..1]);
    let too_many = log(coordinator, v1::LogsRequest { tail: u32::MAX, ..of_job() }).await.unwrap_err();
    assert_eq!(too_many.code(), tonic::Code::InvalidArgument);
}

/// The texts of a log, which the worker `w` wrote.
async fn log(coordinator: &Running, wanted: v1::LogsRequest) -> Result<Vec<String>, tonic::Status> {
    let mut log = coordinator.jobs().logs(wanted).await?.into_inner();
    let mut lines = Vec::new();
    while let Some(line) = soon(log.message()).await.unwrap() {
        assert_eq!(line.worker, "w");
        lines.push(line.text);
    }
    Ok(lines)
}

/// The soup of weights 0 and 1 has the weight one half.
async fn check_models(coordinator: &Running, job: &str) {
    let describe = async |what: &str| {
        let request = v1::DescribeModelsRequest { job: job.into(), what: what.into() };
        coordinator.jobs().describe_models(request).await.map(tonic::Response::into_inner)
    };
    let ensemble = describe("ensemble").await.unwrap();
    assert_eq!((ensemble.models.len(), ensemble.weights.as_slice()), (2, [0.5, 0.5].as_slice()));
    let soup = describe("average/soup").await.unwrap().models.remove(0);
    let request = v1::DownloadRequest { digest: soup.digest };
    let mut chunks = coordinator.artifacts().download(request).await.unwrap().into_inner();
    let content = soon(chunks.message()).await.unwrap().unwrap().data;
    let file = safetensors::SafeTensors::deserialize(&content).unwrap();
    assert_eq!(file.tensor("fc.weight").unwrap().data(), 0.5_f32.to_le_bytes());
    assert_eq!(describe("average/ema").await.unwrap_err().code(), tonic::Code::NotFound);
    assert!(describe("member/7").await.unwrap_err().message().contains("0 to 1"));
}

#[tokio::test]
async fn a_restart_goes_on_where_the_journal_ends() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("serve: {}").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    worker.work(1).await;
    let unfinished = worker.lease().await.key.unwrap();
    coordinator.stop().await;

    let coordinator = Running::start(folder.path()).await;
    assert_eq!(coordinator.submit("serve: {}").await, job, "the key is known still");
    let mut worker = Worker::join(&coordinator, "w").await;
    let again = worker.lease().await;
    let key = again.key.clone().unwrap();
    assert_eq!((key.task, key.attempt), (unfinished.task, unfinished.attempt + 1));
    worker.carry_out(again).await;
    worker.work(TASKS - 2).await;
    assert_eq!(coordinator.to_its_end(&job).await.phase(), JobPhase::Done);
    let report = coordinator.report(&job).await;
    coordinator.stop().await;

    let coordinator = Running::start(folder.path()).await;
    assert_eq!(coordinator.report(&job).await, report);
    let mut worker = Worker::join(&coordinator, "w").await;
    let Order::Host(host) = worker.hear().await else { panic!("what was served is served again") };
    assert_eq!(host.models.len(), 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn predictions_that_are_no_numbers_fail_the_job_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit("").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    worker.work(1).await;
    let key = worker.lease().await.key;
    let mut logits = bytes::logits(0);
    logits[3] = f32::NAN;
    let artifact = Some(worker.upload(&bytes::predictions(&logits)).await);
    worker.say(Message::Finished(v1::TaskFinished { key, artifact })).await;
    let end = coordinator.to_its_end(&job).await;
    assert_eq!(end.phase(), JobPhase::Failed);
    assert!(end.detail.contains("training diverged"), "{}", end.detail);
    coordinator.stop().await;
}
