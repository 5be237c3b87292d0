//! Heavy work, off the threads that answer heartbeats.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many averages, scorings and reports are at work at once: one may read while another computes.
const AT_ONCE_MAX: usize = 2;

/// Runs heavy work on threads of its own, a bounded number at once. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Compute(Arc<Semaphore>);

/// The work panicked, or the coordinator has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator's computation was cut short; its log says why")]
pub struct CutShort;

impl Compute {
    /// Nothing at work.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }

    /// Waits for its turn, does the work, and gives its result.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CutShort> {
        let permit = self.0.clone().acquire_owned().await.map_err(|_| CutShort)?;
        let work = move || {
            let result = work();
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| CutShort)
    }
}

impl Default for Compute {
    fn default() -> Self {
        Self::new()
    }
}
