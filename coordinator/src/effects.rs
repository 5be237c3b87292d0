//! What the coordinator does about effects: grants go to workers, averages and reports are computed here.

use crate::clock::wall_time;
use crate::collection::Claims;
use crate::combining::ReportInput;
use crate::compute::Compute;
use crate::driver::{Act, Handle};
use crate::logs::{Line, Logs};
use crate::serving::Gateway;
use crate::sessions::{SendError, Sessions};
use artifacts::Store;
use ensemble::cluster::{Effect, LeaseKey, Work};
use ensemble::id::{TaskId, WorkerId};
use std::future::Future;

mod work;

pub use work::serve;

/// Acts on effects. It only sends and starts; what takes time runs on the runtime.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Where results go.
    pub driver: Handle,
    /// Where artifacts lie.
    pub store: Store,
    /// Keeps collectors off what is being committed.
    pub claims: Claims,
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
            Effect::Average { job, average, models } => {
                self.start(work::average_models(self.clone(), job, average, models));
            }
            Effect::Combine { job, combination, members, averages } => {
                self.start(work::combine(self.clone(), job, ReportInput { combination, members, averages }));
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
}

/// What does not reach a worker needs no care here: its session is ending, and the cluster takes its leases back.
fn note_unsent(worker: &WorkerId, sent: Result<(), SendError>) {
    if let Err(error) = sent {
        tracing::warn!(%worker, %error, "a message to a worker was not sent");
    }
}
