//! The face of the driver: what every service holds.

use ensemble::cluster::{Cluster, Command, Rejection};
use ensemble::id::JobId;
use tokio::sync::{mpsc, oneshot, watch};

/// What came of a command: for a submitted job, the job that it is.
pub(super) type Applied = Result<Option<JobId>, Rejection>;

/// What the driver is asked.
pub(super) enum Request {
    /// Apply a command.
    Apply { command: Box<Command>, answer: oneshot::Sender<Applied> },
    /// Look at the state.
    Inspect(Box<dyn FnOnce(&Cluster) + Send>),
    /// Let time pass.
    Tick,
    /// End, once everything asked before is done.
    Stop,
}

/// Talks to the driver. Clones are cheap and equal.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) requests: mpsc::Sender<Request>,
    /// Counts up whenever the state has changed.
    pub(super) changes: watch::Receiver<u64>,
}

/// Why a command has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The cluster refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too many requests are waiting.
    #[error("the coordinator is busy; try again in a moment")]
    Busy,
    /// The coordinator is ending.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The driver has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping; try again when it is back")]
pub struct Stopped;

impl Handle {
    /// Applies a command for a user: refused at once where too many requests are waiting, because a user can come back.
    ///
    /// For a submitted job, the answer is the job that it is.
    pub async fn try_apply(&self, command: Command) -> Result<Option<JobId>, ApplyError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Apply { command: Box::new(command), answer };
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ApplyError::Busy,
            mpsc::error::TrySendError::Closed(_) => Stopped.into(),
        })?;
        Ok(answered.await.map_err(|_| Stopped)??)
    }

    /// Applies a command for a session or a task of the coordinator itself: waits for its turn, so that a full queue
    /// slows workers down instead of losing their results.
    pub async fn apply(&self, command: Command) -> Result<(), ApplyError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Apply { command: Box::new(command), answer }).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)??;
        Ok(())
    }

    /// Looks at the state. What `look` sees is in the journal already.
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let look = move |cluster: &Cluster| {
            // Nobody waits any more if this fails.
            let _ = answer.send(look(cluster));
        };
        self.requests.send(Request::Inspect(Box::new(look))).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Changes whenever the state does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Lets the driver end once it has done everything asked before.
    pub async fn stop(&self) {
        // It has ended already if this fails.
        let _ = self.requests.send(Request::Stop).await;
    }

    pub(super) fn tick(&self) -> Result<(), Stopped> {
        match self.requests.try_send(Request::Tick) {
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
            // A driver that is this far behind will look at the clock soon enough.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        }
    }
}
