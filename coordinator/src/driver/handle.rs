//! The face of the driver: what every service holds.

use super::patience::Stall;
use ensemble::cluster::{Cluster, Command, Rejection};
use ensemble::id::JobId;
use std::future::Future;
use std::sync::Arc;
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
    /// What the journal waits for, if it does.
    pub(super) stall: watch::Receiver<Stall>,
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
    /// The journal cannot be written. What was asked may yet take effect, once it can.
    #[error("{0}; nothing is lost, and it goes on by itself")]
    Stalled(Arc<str>),
    /// The coordinator is ending.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The driver has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping; try again when it is back")]
pub struct Stopped;

impl Handle {
    /// Applies a command for a user: refused at once where too many requests are waiting or the journal is stalled,
    /// because a user can come back.
    ///
    /// For a submitted job, the answer is the job that it is.
    pub async fn try_apply(&self, command: Command) -> Result<Option<JobId>, ApplyError> {
        self.check_stall()?;
        let (answer, answered) = oneshot::channel();
        self.try_send(Request::Apply { command: Box::new(command), answer })?;
        Ok(self.unless_stalled(answered).await??)
    }

    /// Looks at the state for a user: like [`Self::inspect`], and refused where [`Self::try_apply`] would be.
    pub async fn try_inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> Result<T, ApplyError> {
        self.check_stall()?;
        let (answer, answered) = oneshot::channel();
        self.try_send(inspection(look, answer))?;
        self.unless_stalled(answered).await
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
        self.requests.send(inspection(look, answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Changes whenever the state does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// What the journal waits for, if it does; changes when that does.
    pub fn stall(&self) -> watch::Receiver<Stall> {
        self.stall.clone()
    }

    /// Lets the driver end once it has done everything asked before.
    pub async fn stop(&self) {
        // It has ended already if this fails.
        let _ = self.requests.send(Request::Stop).await;
    }

    fn try_send(&self, request: Request) -> Result<(), ApplyError> {
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ApplyError::Busy,
            mpsc::error::TrySendError::Closed(_) => Stopped.into(),
        })
    }

    fn check_stall(&self) -> Result<(), ApplyError> {
        self.stall.borrow().clone().map_or(Ok(()), |waiting| Err(ApplyError::Stalled(waiting)))
    }

    async fn unless_stalled<T>(
        &self,
        answered: impl Future<Output = Result<T, oneshot::error::RecvError>>,
    ) -> Result<T, ApplyError> {
        let mut stall = self.stall.clone();
        tokio::select! {
            answer = answered => Ok(answer.map_err(|_| Stopped)?),
            // The driver has ended, and with it the answer, if this fails.
            Ok(stalled) = stall.wait_for(Option::is_some) => {
                Err(stalled.clone().map_or(ApplyError::Busy, ApplyError::Stalled))
            }
        }
    }

    pub(super) fn tick(&self) -> Result<(), Stopped> {
        match self.requests.try_send(Request::Tick) {
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
            // A driver that is this far behind will look at the clock soon enough.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        }
    }
}

fn inspection<T: Send + 'static>(
    look: impl FnOnce(&Cluster) -> T + Send + 'static,
    answer: oneshot::Sender<T>,
) -> Request {
    Request::Inspect(Box::new(move |cluster| {
        // Nobody waits any more if this fails.
        let _ = answer.send(look(cluster));
    }))
}
