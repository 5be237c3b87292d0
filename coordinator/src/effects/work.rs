//! The coordinator's own work: averages, reports, and what is served. A failure that waiting can cure is waited out, and the
//! job's log says so; an artifact that is lost is reported, so that it is made again.

use super::Actor;
use crate::averaging::{AveragingError, average};
use crate::clock::wall_time;
use crate::collection::Claim;
use crate::combining::{self, ReportError, ReportInput};
use crate::compute::CutShort;
use crate::driver::Stopped;
use crate::logs::Line;
use crate::patience::{Curable, Cure, Patience};
use crate::serving::{self, ServeError, Served};
use artifacts::StoreError;
use ensemble::cluster::{AverageOutcome, Cluster, Command, Effect, ReportOutcome};
use ensemble::id::{Digest, JobId};
use ensemble::report::Report;
use ensemble::run::Artifact;
use std::future::Future;

/// Why a piece of work has no result.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Averaging(#[from] AveragingError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    CutShort(#[from] CutShort),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Curable for WorkError {
    fn cure(&self) -> Cure {
        match self {
            Self::Averaging(error) => error.cure(),
            Self::Report(error) => error.cure(),
            Self::Serve(error) => error.cure(),
            Self::Store(error) => error.cure(),
            Self::CutShort(_) | Self::Stopped(_) => Cure::None,
        }
    }
}

/// Averages models, and tells the cluster what came of it.
pub(super) async fn average_models(actor: Actor, job: JobId, average: u32, models: Vec<Artifact>) {
    let asked = Effect::Average { job: job.clone(), average, models: models.clone() };
    let work = Work { actor: &actor, job: &job, name: format!("{job}/average/{average}"), asked: Some(asked) };
    let Some(averaged) = work.persist(|| averaged(&actor, &models)).await else { return };
    // The claim is held until the average is committed.
    let (outcome, _claim) = match averaged {
        Ok((outcome, claim)) => (outcome, Some(claim)),
        Err(error) => (AverageOutcome::Refused { message: error.to_string() }, None),
    };
    work.finish(Command::FinishAverage { job: job.clone(), average, outcome }).await;
}

async fn averaged(actor: &Actor, models: &[Artifact]) -> Result<(AverageOutcome, Claim), WorkError> {
    let (store, models) = (actor.store.clone(), models.to_vec());
    let (artifact, batch_norm) = actor.compute.run(move || average(&store, &models)).await??;
    let claim = actor.claims.claim(&artifact.digest).await;
    if !actor.store.holds(&artifact).await? {
        return Err(StoreError::Missing(artifact.digest).into());
    }
    Ok((AverageOutcome::Averaged { artifact, batch_norm }, claim))
}

/// Makes a job's report, and tells the cluster what came of it.
pub(super) async fn combine(actor: Actor, job: JobId, input: ReportInput) {
    let ReportInput { combination, members, averages } = input.clone();
    let asked = Effect::Combine { job: job.clone(), combination, members, averages };
    let work = Work { actor: &actor, job: &job, name: format!("{job}/report"), asked: Some(asked) };
    let outcome = match work.persist(|| combined(&actor, &input)).await {
        Some(Ok(report)) => ReportOutcome::Done { report: Box::new(report) },
        Some(Err(error)) => ReportOutcome::Refused { message: error.to_string() },
        None => return,
    };
    work.finish(Command::FinishReport { job: job.clone(), outcome }).await;
}

async fn combined(actor: &Actor, input: &ReportInput) -> Result<Report, WorkError> {
    let (store, input) = (actor.store.clone(), input.clone());
    Ok(actor.compute.run(move || combining::report(&store, input)).await??)
}

/// Hands a job's ensemble to the gateway, if the job is done and says `serve`.
pub async fn serve(actor: Actor, job: JobId) {
    let work = Work { actor: &actor, job: &job, name: format!("{job}/serve"), asked: None };
    match work.persist(|| served(&actor, &job)).await {
        Some(Ok(Some(served))) => actor.gateway.serve(served).await,
        Some(Err(error)) => tracing::error!(%job, %error, "the ensemble cannot be served"),
        Some(Ok(None)) | None => (),
    }
}

async fn served(actor: &Actor, job: &JobId) -> Result<Option<Served>, WorkError> {
    let (store, job) = (actor.store.clone(), job.clone());
    let Some(plan) = actor.driver.inspect(move |cluster| serving::plan(cluster, &job)).await? else { return Ok(None) };
    Ok(Some(actor.compute.run(move || plan.open(&store)).await??))
}

/// One piece of work.
struct Work<'a> {
    actor: &'a Actor,
    job: &'a JobId,
    /// What the job's log calls it.
    name: String,
    /// What the cluster asks for; it may stop asking, such as when the job is cancelled.
    asked: Option<Effect>,
}

impl Work<'_> {
    /// Tries until there is a result or a failure that nothing cures. None if nobody wants either any more.
    async fn persist<T, F: Future<Output = Result<T, WorkError>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Option<Result<T, WorkError>> {
        let (mut patience, mut told) = (Patience::default(), None);
        loop {
            let error = match attempt().await {
                Err(error) if error.cure() != Cure::None => error,
                outcome => {
                    if told.is_some() {
                        self.tell("going on");
                    }
                    return Some(outcome);
                }
            };
            if let Cure::Remaking(digest) = error.cure() {
                self.report_lost(digest).await;
            }
            if !self.is_wanted().await {
                return None;
            }
            let text = format!("waiting: {error}");
            if told.as_ref() != Some(&text) {
                self.tell(&text);
                told = Some(text);
            }
            patience.pause().await;
        }
    }

    async fn report_lost(&self, digest: Digest) {
        tracing::error!(work = self.name, %digest, "an artifact is lost");
        self.finish(Command::ReportDamaged { digest }).await;
    }

    async fn is_wanted(&self) -> bool {
        let asked = self.asked.clone();
        let look = move |cluster: &Cluster| asked.is_none_or(|asked| cluster.outstanding().contains(&asked));
        self.actor.driver.inspect(look).await.unwrap_or(false)
    }

    fn tell(&self, text: &str) {
        tracing::warn!(work = self.name, text);
        let line = Line { time_ms: wall_time(), task: self.name.clone(), worker: String::new(), text: text.to_owned() };
        self.actor.logs.append(self.job.clone(), line);
    }

    /// Applies what came of the work.
    async fn finish(&self, command: Command) {
        if let Err(error) = self.actor.driver.apply(command).await {
            // The job was cancelled meanwhile, or the coordinator is stopping and takes it up again at its next start.
            tracing::info!(work = self.name, %error, "a result of the coordinator does not count");
        }
    }
}
