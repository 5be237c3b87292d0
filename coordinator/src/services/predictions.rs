//! `Predictions`: asks a served ensemble.

use super::status::{predict_status, rejection_status, stopped_status};
use crate::Shared;
use crate::serving::{self, PredictError};
use ensemble::cluster::{Cluster, Rejection};
use ensemble::id::JobId;
use proto::v1::{PredictReply, PredictRequest, predictions_server};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Predictions {
    shared: Shared,
}

impl Predictions {
    /// Serves whoever asks.
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Why a job is not served: whether it never will be, or may be soon.
    async fn why_not_served(&self, job: JobId) -> Status {
        let look = move |cluster: &Cluster| not_served(cluster, &job);
        match self.shared.driver.inspect(look).await {
            Ok(Ok(status)) => status,
            Ok(Err(rejection)) => rejection_status(rejection),
            Err(stopped) => stopped_status(stopped),
        }
    }
}

fn not_served(cluster: &Cluster, job: &JobId) -> Result<Status, Rejection> {
    let view = cluster.job(job)?;
    let wanted = cluster.job_file(job)?.serve.is_some();
    Ok(match (wanted, view.ended_ms, cluster.report(job)?) {
        (false, ..) => Status::failed_precondition(format!("job `{job}` is not served; add `serve: {{}}` to its file")),
        (true, None, _) => Status::unavailable(format!("job `{job}` is served once it is done")),
        (true, Some(_), Some(_)) => {
            Status::unavailable(format!("the ensemble of job `{job}` is being placed on workers"))
        }
        (true, Some(_), None) => Status::failed_precondition(format!("job `{job}` ended without an ensemble to serve")),
    })
}

#[tonic::async_trait]
impl predictions_server::Predictions for Predictions {
    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictReply>, Status> {
        let PredictRequest { job, inputs } = request.into_inner();
        let job = JobId::new(job);
        let served = match self.shared.gateway.served(job.clone()).await {
            Err(PredictError::NotServed(_)) => return Err(self.why_not_served(job).await),
            served => served.map_err(predict_status)?,
        };
        let inputs = serving::check_inputs(inputs, served.model)?;
        let rows = inputs.shape[0] as usize;
        let logits = self.shared.gateway.predict(job, inputs).await.map_err(predict_status)?;
        // Cheap for ten classes and not for a thousand: off the threads that answer heartbeats.
        let combined = tokio::task::spawn_blocking(move || serving::answer(&served, rows, &logits)).await;
        let answer = combined.map_err(|_| Status::internal("combining the members' answers was cut short"))?;
        let misfit = |error| Status::internal(format!("the members' answers do not fit together: {error}"));
        Ok(Response::new(answer.map_err(misfit)?))
    }
}
