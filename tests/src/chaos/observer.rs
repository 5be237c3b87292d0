//! A user and an operator who ask the coordinator, and ask again for as long as it is away.

use super::wait::{patiently, wait_until};
use proto::v1::admin_client::AdminClient;
use proto::v1::jobs_client::JobsClient;
use proto::v1::{
    Checkpoint, CollectGarbageRequest, DescribeModelsRequest, GetReportRequest, Job, JobStatus, ListCheckpointsRequest,
    ListJobsRequest, ListMembersRequest, ListWorkersRequest, Member, ModelEntry, RunProgress, SubmitRequest,
    WatchRequest, Worker,
};
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A request that is not answered within this time is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks.
#[derive(Debug)]
pub struct Observer {
    runtime: Handle,
    endpoint: Endpoint,
}

/// A run that is being trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    pub job: String,
    pub run: String,
    pub worker: String,
    pub attempt: u32,
    /// Of its last progress.
    pub step: u64,
}

impl Observer {
    /// Somebody who asks the coordinator at `address`.
    pub fn new(runtime: Handle, address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_timeout(ANSWER_WITHIN);
        Self { runtime, endpoint }
    }

    /// Asks once. None if there is no answer, or one that asks for patience.
    fn try_ask<T, F: Future<Output = Result<T, Status>>>(
        &self,
        question: &impl Fn(JobsClient<Channel>) -> F,
    ) -> Option<T> {
        let asked = async { question(JobsClient::new(self.endpoint.connect_lazy())).await };
        let answer = self.runtime.block_on(async { timeout(ANSWER_WITHIN, asked).await });
        match answer {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(status)) if is_passing(status.code()) => None,
            Ok(Err(status)) => panic!("the coordinator refuses: {status:?}"),
            Err(_) => None,
        }
    }

    /// Whether there is an answer now.
    pub fn answers(&self) -> bool {
        self.try_ask(&|mut jobs| async move { jobs.list_jobs(ListJobsRequest {}).await }).is_some()
    }

    fn ask<T, F: Future<Output = Result<T, Status>>>(&self, question: impl Fn(JobsClient<Channel>) -> F) -> T {
        patiently("the coordinator answers", || self.try_ask(&question))
    }

    /// Submits a job under a key, again and again until it is acknowledged.
    pub fn submit(&self, key: &str, job_json: &str) -> String {
        let request = SubmitRequest { idempotency_key: key.to_owned(), job_json: job_json.to_owned() };
        self.ask(|mut jobs| {
            let request = request.clone();
            async move { Ok(jobs.submit(request).await?.into_inner().job) }
        })
    }

    /// All jobs.
    pub fn jobs(&self) -> Vec<Job> {
        self.ask(|mut jobs| async move { Ok(jobs.list_jobs(ListJobsRequest {}).await?.into_inner().jobs) })
    }

    /// All workers.
    pub fn workers(&self) -> Vec<Worker> {
        self.ask(|mut jobs| async move { Ok(jobs.list_workers(ListWorkersRequest {}).await?.into_inner().workers) })
    }

    /// A job's members.
    pub fn members(&self, job: &str) -> Vec<Member> {
        self.ask(|mut jobs| {
            let request = ListMembersRequest { job: job.to_owned() };
            async move { Ok(jobs.list_members(request).await?.into_inner().members) }
        })
    }

    /// A job's checkpoints and models.
    pub fn checkpoints(&self, job: &str) -> Vec<Checkpoint> {
        self.ask(|mut jobs| {
            let request = ListCheckpointsRequest { job: job.to_owned() };
            async move { Ok(jobs.list_checkpoints(request).await?.into_inner().checkpoints) }
        })
    }

    /// A job's state now.
    pub fn status(&self, job: &str) -> JobStatus {
        self.ask(|mut jobs| {
            let request = WatchRequest { job: job.to_owned() };
            async move {
                let first = jobs.watch(request).await?.into_inner().message().await?;
                first.ok_or_else(|| Status::unavailable("the stream ended before it began"))
            }
        })
    }

    /// The models that make up an ensemble or the averages.
    pub fn models(&self, job: &str, what: &str) -> Vec<ModelEntry> {
        self.ask(|mut jobs| {
            let request = DescribeModelsRequest { job: job.to_owned(), what: what.to_owned() };
            async move { Ok(jobs.describe_models(request).await?.into_inner().models) }
        })
    }

    /// A job's report, in its JSON form.
    pub fn report(&self, job: &str) -> String {
        self.ask(|mut jobs| {
            let request = GetReportRequest { job: job.to_owned() };
            async move { Ok(jobs.get_report(request).await?.into_inner().report_json) }
        })
    }

    /// Has garbage collected. How many artifacts that removed.
    pub fn collect_garbage(&self) -> usize {
        self.ask(|_| async {
            let mut admin = AdminClient::new(self.endpoint.connect_lazy());
            let reply = admin.collect_garbage(CollectGarbageRequest::default()).await?;
            Ok(reply.into_inner().removed.len())
        })
    }

    /// The runs of a job that are being trained and of which something was heard.
    pub fn trainings(&self, job: &str) -> Vec<Training> {
        let training = |run: RunProgress| {
            let RunProgress { run, worker, attempt, progress, state } = run;
            let step = progress.filter(|progress| progress.step < progress.steps)?.step;
            (state == "training").then(|| Training { job: job.to_owned(), run, worker, attempt, step })
        };
        self.status(job).runs.into_iter().filter_map(training).collect()
    }

    /// Waits until so many workers are connected.
    pub fn await_connected(&self, count: usize) {
        wait_until(&format!("{count} workers are connected"), || {
            self.workers().iter().filter(|worker| worker.connected).count() >= count
        });
    }
}

/// Answers after which it is right to ask again.
fn is_passing(code: Code) -> bool {
    [Code::Unavailable, Code::ResourceExhausted, Code::Cancelled, Code::DeadlineExceeded, Code::Unknown, Code::Aborted]
        .contains(&code)
}
