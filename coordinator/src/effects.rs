//! What the coordinator does about effects: grants go to workers, averages and reports are computed here.

use crate::averaging;
use crate::clock::wall_time;
use crate::combining::{self, ReportInput};
use crate::compute::Compute;
use crate::driver::{Act, Handle};
use crate::logs::{Line, Logs};
use crate::serving::{self, Gateway};
use crate::sessions::{SendError, Sessions};
use crate::store::Store;
use ensemble::cluster::{AverageOutcome, Command, Effect, LeaseKey, ReportOutcome, Work};
use ensemble::id::{JobId, TaskId, WorkerId};
use ensemble::run::Artifact;
use std::future::Future;

/// Acts on effects. It only sends and starts; what takes time runs on the runtime.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Where results go.
    pub driver: Handle,
    /// Where artifacts lie.
    pub store: Store,
    /// The way to the workers.
    pub sessions: Sessions,
    /// Where finished ensembles go.
    pub gateway: Gateway,
    /// Where what happened to a task is told.
    pub logs: Logs,
    /// Where heavy work is done.
    pub compute: Compute,
    /// The runtime that the started work runs on: the driver's own thread is none of its.
    pub runtime: tokio::runtime::Handle,
}

impl Act for Actor {
    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Grant { worker, slot, lease, work } => self.grant(&worker, slot, lease, work),
            Effect::Kept { worker, slot, lease } => self.keep(&worker, slot, lease),
            Effect::Revoke { worker, lease } => self.revoke(&worker, lease),
            Effect::Yield { worker, lease } => self.ask_back(&worker, lease),
            Effect::Average { job, average, models } => self.start(average_models(self.clone(), job, average, models)),
            Effect::Combine { job, combination, members, averages } => {
                self.start(combine(self.clone(), job, ReportInput { combination, members, averages }));
            }
            Effect::Lost { worker } => self.sessions.end(&worker),
            Effect::Retried { task } => self.tell_retried(&task),
            Effect::Accepted { job } => tracing::info!(%job, "job accepted"),
            Effect::JobEnded { job } => self.start(serve(self.clone(), job)),
        }
    }
}

impl Actor {
    fn grant(&self, worker: &WorkerId, slot: u32, lease: LeaseKey, work: Work) {
        tracing::info!(%worker, slot, task = %lease.task, attempt = lease.attempt, "task granted");
        note_unsent(worker, self.sessions.grant(worker, slot, lease, work));
    }

    fn keep(&self, worker: &WorkerId, slot: u32, lease: LeaseKey) {
        tracing::info!(%worker, slot, task = %lease.task, attempt = lease.attempt, "lease kept");
        self.sessions.keep(worker, slot, lease);
    }

    fn ask_back(&self, worker: &WorkerId, lease: LeaseKey) {
        tracing::info!(%worker, task = %lease.task, attempt = lease.attempt, "task asked back");
        note_unsent(worker, self.sessions.ask_back(worker, lease));
    }

    fn revoke(&self, worker: &WorkerId, lease: LeaseKey) {
        tracing::info!(%worker, task = %lease.task, attempt = lease.attempt, "lease revoked");
        note_unsent(worker, self.sessions.revoke(worker, lease));
    }

    fn tell_retried(&self, task: &TaskId) {
        let Some(job) = task.job() else { return };
        let text = "the task is tried again after a pause".to_owned();
        self.logs.append(job, Line { time_ms: wall_time(), task: task.to_string(), worker: String::new(), text });
    }

    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Applies what came of the coordinator's own work.
    async fn finish(&self, job: &JobId, command: Command) {
        if let Err(error) = self.driver.apply(command).await {
            // The job was cancelled meanwhile, or the coordinator is stopping and takes it up again at its next start.
            tracing::info!(%job, %error, "a result of the coordinator does not count");
        }
    }
}

/// What does not reach a worker needs no care here: its session is ending, and the cluster takes its leases back.
fn note_unsent(worker: &WorkerId, sent: Result<(), SendError>) {
    if let Err(error) = sent {
        tracing::warn!(%worker, %error, "a message to a worker was not sent");
    }
}

async fn average_models(actor: Actor, job: JobId, average: u32, models: Vec<Artifact>) {
    let store = actor.store.clone();
    let outcome = match actor.compute.run(move || averaging::average(&store, &models)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => AverageOutcome::Refused { message: error.to_string() },
        Err(cut_short) => AverageOutcome::Refused { message: cut_short.to_string() },
    };
    actor.finish(&job, Command::FinishAverage { job: job.clone(), average, outcome }).await;
}

async fn combine(actor: Actor, job: JobId, input: ReportInput) {
    let store = actor.store.clone();
    let outcome = match actor.compute.run(move || combining::report(&store, input)).await {
        Ok(Ok(report)) => ReportOutcome::Done { report: Box::new(report) },
        Ok(Err(error)) => ReportOutcome::Refused { message: error.to_string() },
        Err(cut_short) => ReportOutcome::Refused { message: cut_short.to_string() },
    };
    actor.finish(&job, Command::FinishReport { job: job.clone(), outcome }).await;
}

/// Hands a job's ensemble to the gateway, if the job is done and says `serve`.
pub async fn serve(actor: Actor, job: JobId) {
    let Ok(plan) = actor.driver.inspect(move |cluster| serving::plan(cluster, &job)).await else { return };
    let Some(plan) = plan else { return };
    let (store, job) = (actor.store.clone(), plan.job.clone());
    let Ok(served) = actor.compute.run(move || plan.open(&store)).await else { return };
    match served {
        Ok(served) => actor.gateway.serve(served).await,
        Err(error) => tracing::error!(%job, %error, "the ensemble cannot be served"),
    }
}
