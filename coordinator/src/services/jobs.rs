//! `Jobs`: what users ask.

mod describe;
mod follow;

use super::status::{apply_status, rejection_status};
use crate::Shared;
use ensemble::cluster::{Cluster, Command, Rejection};
use ensemble::id::JobId;
use ensemble::job::Job;
use proto::v1::{self, jobs_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Jobs {
    shared: Shared,
}

impl Jobs {
    /// Serves users.
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Looks at something of a job.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Status> {
        self.shared.driver.try_inspect(look).await.map_err(apply_status)?.map_err(rejection_status)
    }
}

#[tonic::async_trait]
impl jobs_server::Jobs for Jobs {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let v1::SubmitRequest { idempotency_key: key, job_json } = request.into_inner();
        let job = Job::from_json(&job_json).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let accepted = self.shared.driver.try_apply(Command::Submit { key, job: Box::new(job) }).await;
        let job =
            accepted.map_err(apply_status)?.ok_or_else(|| Status::internal("the job was accepted without a name"))?;
        Ok(Response::new(v1::SubmitReply { job: job.to_string() }))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelReply>, Status> {
        let job = JobId::new(request.into_inner().job);
        self.shared.driver.try_apply(Command::Cancel { job }).await.map_err(apply_status)?;
        Ok(Response::new(v1::CancelReply {}))
    }

    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsReply>, Status> {
        let jobs = self.shared.driver.try_inspect(Cluster::jobs).await.map_err(apply_status)?;
        Ok(Response::new(v1::ListJobsReply { jobs: jobs.into_iter().map(Into::into).collect() }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersReply>, Status> {
        let job = JobId::new(request.into_inner().job);
        let members = self.look(move |cluster| cluster.members(&job)).await?;
        Ok(Response::new(v1::ListMembersReply { members: members.into_iter().map(Into::into).collect() }))
    }

    async fn list_workers(&self, _: Request<v1::ListWorkersRequest>) -> Result<Response<v1::ListWorkersReply>, Status> {
        let workers = self.shared.driver.try_inspect(Cluster::workers).await.map_err(apply_status)?;
        Ok(Response::new(v1::ListWorkersReply { workers: workers.into_iter().map(Into::into).collect() }))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsReply>, Status> {
        let job = JobId::new(request.into_inner().job);
        let checkpoints = self.look(move |cluster| cluster.checkpoints(&job)).await?;
        let checkpoints = checkpoints.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListCheckpointsReply { checkpoints }))
    }

    type WatchStream = ReceiverStream<Result<v1::JobStatus, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let job = JobId::new(request.into_inner().job);
        Ok(Response::new(follow::watch(self.shared.clone(), job).await?))
    }

    type LogsStream = ReceiverStream<Result<v1::LogLine, Status>>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        Ok(Response::new(follow::logs(self.shared.clone(), request.into_inner()).await?))
    }

    async fn get_report(&self, request: Request<v1::GetReportRequest>) -> Result<Response<v1::GetReportReply>, Status> {
        let job = JobId::new(request.into_inner().job);
        let name = job.clone();
        let report = self.look(move |cluster| cluster.report(&job).map(Option::<&_>::cloned)).await?;
        let report = report.ok_or_else(|| describe::no_report(&name))?;
        let report_json = serde_json::to_string(&report).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::GetReportReply { report_json }))
    }

    async fn describe_models(
        &self,
        request: Request<v1::DescribeModelsRequest>,
    ) -> Result<Response<v1::DescribeModelsReply>, Status> {
        let v1::DescribeModelsRequest { job, what } = request.into_inner();
        let what = describe::What::parse(&what)?;
        let job = JobId::new(job);
        let described = self.look(move |cluster| Ok(describe::describe(cluster, &job, &what))).await?;
        Ok(Response::new(described?))
    }
}
