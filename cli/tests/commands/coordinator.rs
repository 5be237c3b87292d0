//! A coordinator with one finished job, whose answers are fixed.

use ensemble::metrics::Scores;
use ensemble::report::{Report, ReportRow};
use proto::v1::admin_server::{Admin, AdminServer};
use proto::v1::artifacts_server::{Artifacts, ArtifactsServer};
use proto::v1::jobs_server::{Jobs, JobsServer};
use proto::v1::predictions_server::{Predictions, PredictionsServer};
use proto::v1::*;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// The name of the one job.
pub const JOB: &str = "digits-1";

/// What the coordinator has been asked to do.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

/// What is not well with the coordinator or its job.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// How many times it is away when somebody submits, and as many times when somebody watches.
    pub away: u32,
    /// The job fails.
    pub fails: bool,
}

/// A coordinator that serves until the test ends.
pub struct Fake {
    pub address: SocketAddr,
    pub asked: Asked,
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub fn start() -> Self {
        Self::in_trouble(Trouble::default())
    }

    pub fn in_trouble(trouble: Trouble) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let away = |times| Arc::new(Mutex::new(times));
        let answers = Answers {
            asked: asked.clone(),
            predictions_refused: away(2),
            submits_refused: away(trouble.away),
            watches_cut: away(trouble.away),
            fails: trouble.fails,
        };
        let serve = tonic::transport::Server::builder()
            .add_service(AdminServer::new(answers.clone()))
            .add_service(JobsServer::new(answers.clone()))
            .add_service(ArtifactsServer::new(answers.clone()))
            .add_service(PredictionsServer::new(answers))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(serve);
        Self { address, asked, _runtime: runtime }
    }

    /// The program's arguments, with this coordinator's address.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        let address = self.address.to_string();
        let arguments = [arguments, &["--coordinator", &address]].concat();
        super::run(&arguments, &std::env::temp_dir())
    }
}

/// A model file: a header with the lineage, and one tensor.
pub fn model() -> Vec<u8> {
    let run = r#"{"index":0,"name":"seed-0"}"#;
    let header = serde_json::json!({
        "__metadata__": {"job": "digits", "kind": "\"final\"", "run": run, "step": "100"},
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    });
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &1f32.to_le_bytes()].concat()
}

pub fn digest() -> String {
    Sha256::digest(model()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone)]
struct Answers {
    asked: Asked,
    /// Models are still being loaded when the first questions come.
    predictions_refused: Arc<Mutex<u32>>,
    submits_refused: Arc<Mutex<u32>>,
    watches_cut: Arc<Mutex<u32>>,
    fails: bool,
}

/// Whether it is refused once more.
fn refused(times: &Mutex<u32>) -> bool {
    let mut times = times.lock().unwrap();
    let refused = *times > 0;
    *times = times.saturating_sub(1);
    refused
}

fn away() -> Status {
    Status::unavailable("the coordinator is stopping; try again when it is back")
}

type Answer<T> = Result<Response<T>, Status>;
type Answering<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn stream<T: Send + 'static>(items: Vec<T>) -> Answer<Answering<T>> {
    Ok(Response::new(Box::pin(tokio_stream::iter(items.into_iter().map(Ok)))))
}

fn known(job: &str) -> Result<(), Status> {
    if job == JOB {
        Ok(())
    } else {
        Err(Status::not_found(format!("there is no job `{job}`; `tutti get jobs` lists them")))
    }
}

fn job(phase: JobPhase) -> Job {
    Job {
        id: JOB.into(),
        name: "digits".into(),
        phase: phase.into(),
        detail: String::new(),
        members_ready: 2,
        members_total: 2,
        submitted_ms: 1_770_000_000_000,
        ended_ms: if phase == JobPhase::Running { 0 } else { 1_770_000_060_000 },
        served: true,
        namespace: "default".into(),
        priority: 50,
        members_lost: 0,
        failed_task: String::new(),
    }
}

fn scores(accuracy: f64) -> proto::v1::Scores {
    proto::v1::Scores { accuracy, nll: 0.25, brier: 0.125, ece: 0.0625, samples: 1000 }
}

fn report() -> Report {
    let row = |name: &str, accuracy| ReportRow {
        name: name.into(),
        validation: None,
        test: Some(Scores { accuracy, nll: 0.25, brier: 0.125, ece: 0.0625, samples: 1000 }),
    };
    Report {
        members: vec![row("seed-0", 0.875), row("seed-1", 0.9375)],
        averages: vec![row("ema", 0.90625)],
        ensemble: row("ensemble", 0.953125),
        weights: vec![0.5, 0.5],
        temperature: 1.0,
        disagreement: Some(0.0625),
        lost: Vec::new(),
    }
}

#[tonic::async_trait]
impl Jobs for Answers {
    type WatchStream = Answering<JobStatus>;
    type LogsStream = Answering<LogLine>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Answer<SubmitReply> {
        let SubmitRequest { idempotency_key, job_json } = request.into_inner();
        if refused(&self.submits_refused) {
            self.asked.note(format!("refused {idempotency_key}"));
            return Err(away());
        }
        if self.asked.0.lock().unwrap().iter().any(|asked| asked.starts_with("refused")) {
            self.asked.note(format!("accepted {idempotency_key}"));
        }
        let job =
            ensemble::job::Job::from_json(&job_json).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.asked.note(format!("submit key of {} with data in {}", idempotency_key.len(), job.data.path));
        Ok(Response::new(SubmitReply { job: JOB.into() }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Answer<CancelReply> {
        let job = request.into_inner().job;
        known(&job)?;
        self.asked.note(format!("cancel {job}"));
        Ok(Response::new(CancelReply {}))
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Answer<ListJobsReply> {
        Ok(Response::new(ListJobsReply { jobs: vec![job(JobPhase::Done)] }))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersReply> {
        known(&request.into_inner().job)?;
        let member = Member {
            index: 0,
            name: "seed-0".into(),
            seed: Some(65536),
            state: "evaluated".into(),
            digest: digest(),
            validation: None,
            test: Some(scores(0.875)),
        };
        Ok(Response::new(ListMembersReply { members: vec![member] }))
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Answer<ListWorkersReply> {
        let slot = |index, task: &str| WorkerSlot { index, device: "cpu".into(), task: task.into() };
        let slots = vec![slot(0, "digits-1/train/0"), slot(1, "")];
        let worker = Worker {
            id: "worker-1".into(),
            connected: true,
            slots,
            last_heartbeat_ms: 1_770_000_059_000,
            state: "connected".into(),
            standing: "draining".into(),
        };
        let gone = Worker {
            id: "worker-2".into(),
            last_heartbeat_ms: 1_770_000_009_000,
            state: "gone".into(),
            standing: "active".into(),
            ..Worker::default()
        };
        Ok(Response::new(ListWorkersReply { workers: vec![worker, gone] }))
    }

    async fn list_checkpoints(&self, request: Request<ListCheckpointsRequest>) -> Answer<ListCheckpointsReply> {
        known(&request.into_inner().job)?;
        let checkpoint = Checkpoint {
            run: "seed-0".into(),
            kind: "checkpoint".into(),
            step: 100,
            digest: digest(),
            bytes: 4096,
            committed_ms: 1_770_000_050_000,
        };
        Ok(Response::new(ListCheckpointsReply { checkpoints: vec![checkpoint] }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        known(&request.into_inner().job)?;
        let run = |state: &str| RunProgress {
            run: "seed-0".into(),
            state: state.into(),
            worker: "worker-1".into(),
            attempt: 1,
            progress: None,
        };
        let status = |phase, state| JobStatus { job: Some(job(phase)), runs: vec![run(state)], evaluations_open: 0 };
        if refused(&self.watches_cut) {
            let cut: Vec<Result<_, Status>> = vec![Ok(status(JobPhase::Running, "training")), Err(away())];
            return Ok(Response::new(Box::pin(tokio_stream::iter(cut))));
        }
        if self.fails {
            let mut failed = status(JobPhase::Failed, "failed");
            let job = failed.job.as_mut().unwrap();
            (job.detail, job.failed_task) = ("out of memory, 3 of 2 restarts".into(), "digits-1/train/0".into());
            return stream(vec![failed]);
        }
        stream(vec![status(JobPhase::Running, "training"), status(JobPhase::Done, "done")])
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        let request = request.into_inner();
        let line = LogLine {
            time_ms: 1_770_000_000_000,
            task: "digits-1/train/0".into(),
            worker: "worker-1".into(),
            text: match (request.follow, request.tail, request.task.as_str()) {
                (true, ..) => "followed".into(),
                (false, 0, "") => "epoch 1".into(),
                (false, tail, task) => format!("the last {tail} of {task}"),
            },
        };
        stream(vec![line])
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Answer<GetReportReply> {
        known(&request.into_inner().job)?;
        Ok(Response::new(GetReportReply { report_json: serde_json::to_string(&report()).unwrap() }))
    }

    async fn describe_models(&self, request: Request<DescribeModelsRequest>) -> Answer<DescribeModelsReply> {
        let request = request.into_inner();
        known(&request.job)?;
        let digest = if request.what == "damaged" { "0".repeat(64) } else { digest() };
        let models = vec![ModelEntry { name: "seed-0".into(), digest, bytes: model().len() as u64 }];
        let class_names = vec!["zero".into(), "one".into()];
        let combine = "mean_probability".into();
        Ok(Response::new(DescribeModelsReply { models, weights: vec![1.0], temperature: 1.0, combine, class_names }))
    }
}

#[tonic::async_trait]
impl Artifacts for Answers {
    type DownloadStream = Answering<Chunk>;

    async fn upload(&self, _: Request<Streaming<UploadRequest>>) -> Answer<UploadReply> {
        Err(Status::unimplemented("the program uploads nothing"))
    }

    async fn download(&self, _: Request<DownloadRequest>) -> Answer<Self::DownloadStream> {
        stream(model().chunks(16).map(|part| Chunk { data: part.to_vec().into() }).collect())
    }
}

#[tonic::async_trait]
impl Predictions for Answers {
    async fn predict(&self, request: Request<PredictRequest>) -> Answer<PredictReply> {
        let request = request.into_inner();
        known(&request.job)?;
        let mut refused = self.predictions_refused.lock().unwrap();
        if *refused > 0 {
            *refused -= 1;
            return Err(Status::unavailable("1 of 2 members are loaded"));
        }
        let inputs = request.inputs.unwrap();
        let prediction = |pixel: &u8| Prediction {
            probabilities: if *pixel > 100 { vec![0.25, 0.75] } else { vec![0.875, 0.125] },
            class: u32::from(*pixel > 100),
            predictive_entropy: 0.5,
            mutual_information: 0.0625,
            members_agreeing: 2,
        };
        let rows = inputs.data.chunks((inputs.shape[1] * inputs.shape[2] * inputs.shape[3]) as usize);
        let predictions = rows.map(|row| prediction(&row[0])).collect();
        Ok(Response::new(PredictReply { predictions, members_answered: 2, members_total: 2 }))
    }
}

#[tonic::async_trait]
impl Admin for Answers {
    type BackupStream = Answering<Chunk>;

    async fn drain_worker(&self, request: Request<DrainWorkerRequest>) -> Answer<DrainWorkerReply> {
        self.asked.note(format!("drain {}", request.into_inner().worker));
        Ok(Response::new(DrainWorkerReply {}))
    }

    async fn reinstate_worker(&self, request: Request<ReinstateWorkerRequest>) -> Answer<ReinstateWorkerReply> {
        self.asked.note(format!("reinstate {}", request.into_inner().worker));
        Ok(Response::new(ReinstateWorkerReply {}))
    }

    async fn set_share(&self, request: Request<SetShareRequest>) -> Answer<SetShareReply> {
        let SetShareRequest { namespace, weight } = request.into_inner();
        self.asked.note(format!("share {namespace} {weight}"));
        Ok(Response::new(SetShareReply {}))
    }

    async fn list_shares(&self, _: Request<ListSharesRequest>) -> Answer<ListSharesReply> {
        let share = Share { namespace: "vision".into(), weight: 3, slots_busy: 2 };
        Ok(Response::new(ListSharesReply { shares: vec![share] }))
    }

    async fn pin(&self, request: Request<PinRequest>) -> Answer<PinReply> {
        self.asked.note(format!("pin {}", request.into_inner().digest));
        Ok(Response::new(PinReply {}))
    }

    async fn unpin(&self, request: Request<UnpinRequest>) -> Answer<UnpinReply> {
        self.asked.note(format!("unpin {}", request.into_inner().digest));
        Ok(Response::new(UnpinReply {}))
    }

    async fn list_pins(&self, _: Request<ListPinsRequest>) -> Answer<ListPinsReply> {
        Ok(Response::new(ListPinsReply { digests: vec![digest()] }))
    }

    async fn collect_garbage(&self, request: Request<CollectGarbageRequest>) -> Answer<CollectGarbageReply> {
        self.asked.note(format!("collect, dry run {}", request.into_inner().dry_run));
        let removed = vec![RemovedArtifact { digest: digest(), bytes: 4096 }];
        let reason = String::new();
        Ok(Response::new(CollectGarbageReply { removed, removed_bytes: 4096, kept_bytes: 21_300_000, reason }))
    }

    async fn backup(&self, _: Request<BackupRequest>) -> Answer<Self::BackupStream> {
        stream(model().chunks(16).map(|part| Chunk { data: part.to_vec().into() }).collect())
    }
}
