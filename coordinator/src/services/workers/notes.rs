//! What a worker says in passing: it takes effect at once, and nothing depends on it.

use crate::Shared;
use crate::clock::wall_time;
use crate::logs::Line;
use ensemble::cluster::LeaseKey;
use ensemble::id::{JobId, WorkerId};
use proto::convert::required;
use proto::v1;
use tonic::Status;

/// One worker's lines and progress. What it says under leases that do not count is dropped.
#[derive(Clone)]
pub(super) struct Notes {
    pub shared: Shared,
    pub worker: WorkerId,
}

impl Notes {
    pub(super) fn on_progress(&self, wire: v1::TaskProgress) -> Result<(), Status> {
        let lease: LeaseKey = required("key", wire.key)?;
        if let (Some(job), Some(progress)) = (self.job_at_work(&lease), wire.progress) {
            self.shared.progress.note(job, wire.run, progress);
        }
        Ok(())
    }

    pub(super) fn on_log(&self, wire: v1::TaskLog) -> Result<(), Status> {
        self.append(&required("key", wire.key)?, wire.text);
        Ok(())
    }

    /// Appends to the log of the lease's job.
    pub(super) fn append(&self, lease: &LeaseKey, text: String) {
        if let Some(job) = self.job_at_work(lease) {
            let (task, worker) = (lease.task.to_string(), self.worker.to_string());
            self.shared.logs.append(job, Line { time_ms: wall_time(), task, worker, text });
        }
    }

    /// The job of a lease that counts. What a worker says of any other is not worth a word.
    pub(super) fn job_at_work(&self, lease: &LeaseKey) -> Option<JobId> {
        self.shared.sessions.granted(&self.worker, lease)?;
        lease.task.job()
    }
}
