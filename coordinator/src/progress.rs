//! How far each run is, by what its worker said last. Not journalled: after a restart the next report fills it again.

use ensemble::id::JobId;
use proto::v1::Progress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The newest progress of every run of every job. Clones are the same.
///
/// A lock, held for one insert or one copy; a task of its own would only make a queue of it.
#[derive(Clone, Debug)]
pub struct ProgressBoard {
    latest: Arc<Mutex<BTreeMap<JobId, BTreeMap<u32, Progress>>>>,
    changed: watch::Sender<u64>,
}

impl ProgressBoard {
    /// An empty board.
    pub fn new() -> Self {
        Self { latest: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Notes the progress of a run, by its index in the job.
    pub fn note(&self, job: JobId, run: u32, progress: Progress) {
        self.lock().entry(job).or_default().insert(run, progress);
        self.changed.send_modify(|count| *count += 1);
    }

    /// The newest progress of a job's runs, by index.
    pub fn of(&self, job: &JobId) -> BTreeMap<u32, Progress> {
        self.lock().get(job).cloned().unwrap_or_default()
    }

    /// Changes whenever progress is noted.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A panic elsewhere cannot leave the map half changed.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, BTreeMap<u32, Progress>>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ProgressBoard {
    fn default() -> Self {
        Self::new()
    }
}
