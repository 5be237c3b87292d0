//! A coordinator that runs in the test.

use coordinator::listen::listen;
use coordinator::{Coordinator, RunError, Settings, Shared};
use ensemble::job::Job;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::jobs_client::JobsClient;
use proto::v1::predictions_client::PredictionsClient;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// Nothing in a test takes as long; what does is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Waits for something that comes soon, or never.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(STUCK_AFTER, what).await.expect("it comes within a minute")
}

/// A coordinator on a free port.
pub struct Running {
    pub channel: Channel,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Starts a coordinator with the state in a folder.
    pub async fn start(data_dir: &Path) -> Self {
        Self::start_with(Settings::new(data_dir.to_owned())).await.0
    }

    /// Starts a coordinator with other settings, and shows what is inside.
    pub async fn start_with(settings: Settings) -> (Self, Shared) {
        let coordinator = Coordinator::open(settings).await.unwrap();
        let shared = coordinator.shared().clone();
        let listener = listen("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(coordinator.run(listener, async { drop(stopped.await) }));
        let channel = soon(Endpoint::from_shared(address).unwrap().connect()).await.unwrap();
        (Self { channel, stop, ended }, shared)
    }

    /// A coordinator that runs elsewhere and listens there.
    pub async fn elsewhere(address: String) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async {
            drop(stopped.await);
            Ok(())
        });
        let channel = soon(Endpoint::from_shared(address).unwrap().connect()).await.unwrap();
        Self { channel, stop, ended }
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.ended).await.unwrap().unwrap();
    }

    pub fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone())
    }

    /// All workers that the coordinator knows.
    pub async fn workers(&self) -> Vec<v1::Worker> {
        self.jobs().list_workers(v1::ListWorkersRequest {}).await.unwrap().into_inner().workers
    }

    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub fn artifacts(&self) -> ArtifactsClient<Channel> {
        ArtifactsClient::new(self.channel.clone())
    }

    pub fn predictions(&self) -> PredictionsClient<Channel> {
        PredictionsClient::new(self.channel.clone())
    }

    /// Submits a job of two seeds, and what else `more` says.
    pub async fn submit(&self, more: &str) -> String {
        let file = format!(
            "name: shapes\ndata: {{format: idx, path: /data/shapes}}\nmodel: {{architecture: mlp}}\n\
             train: {{epochs: 1}}\nmembers: [{{seeds: {{count: 2}}}}]\n{more}"
        );
        let job_json = Job::parse(&file, &[]).unwrap().to_json();
        let request = v1::SubmitRequest { idempotency_key: "once".into(), job_json };
        self.jobs().submit(request).await.unwrap().into_inner().job
    }

    /// Watches a job until its end.
    pub async fn to_its_end(&self, job: &str) -> v1::Job {
        let mut watch = self.jobs().watch(v1::WatchRequest { job: job.into() }).await.unwrap().into_inner();
        let mut last = None;
        while let Some(status) = soon(watch.message()).await.unwrap() {
            last = status.job;
        }
        last.unwrap()
    }

    /// Waits for a line of a job's log that contains a word.
    pub async fn log_says(&self, job: &str, word: &str) -> String {
        let request = v1::LogsRequest { job: job.into(), follow: true, ..v1::LogsRequest::default() };
        let mut log = self.jobs().logs(request).await.unwrap().into_inner();
        loop {
            let line = soon(log.message()).await.unwrap().expect("the log says it before it ends");
            if line.text.contains(word) {
                return line.text;
            }
        }
    }

    /// The report of a job that is done.
    pub async fn report(&self, job: &str) -> ensemble::report::Report {
        let reply = self.jobs().get_report(v1::GetReportRequest { job: job.into() }).await.unwrap().into_inner();
        serde_json::from_str(&reply.report_json).unwrap()
    }
}
