//! The workers that are connected now, and the way to each of them.

use ensemble::cluster::{LeaseKey, Work};
use ensemble::id::WorkerId;
use proto::v1::{Lease, Revoke, ToWorker, to_worker::Message};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How many messages may wait for one worker. A worker that leaves so many unread is not well: its session is dropped,
/// and with it everything that depends on the worker's answers.
pub const OUTBOUND_MAX: usize = 64;

/// The sending half of a session.
pub type Outbound = mpsc::Sender<Result<ToWorker, Status>>;

/// All sessions. Clones are the same set.
///
/// A lock and no task, because sending must not wait: the driver's thread sends grants. It is held for a look-up and a
/// `try_send` at most.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<BTreeMap<WorkerId, Session>>>);

#[derive(Debug)]
struct Session {
    outbound: Outbound,
    ended: CancellationToken,
    /// What each slot was last granted. A lease does not outlive the session that it was granted in, so this is all
    /// that the worker may speak of.
    grants: BTreeMap<u32, Granted>,
}

/// A lease that a session was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The lease.
    pub lease: LeaseKey,
    /// What it is for.
    pub kind: TaskKind,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// It trains.
    Train,
    /// It recomputes batch-norm statistics.
    Calibrate,
    /// It predicts.
    Evaluate,
}

impl From<&Work> for TaskKind {
    fn from(work: &Work) -> Self {
        match work {
            Work::Train { .. } => Self::Train,
            Work::Calibrate { .. } => Self::Calibrate,
            Work::Evaluate { .. } => Self::Evaluate,
        }
    }
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The worker has no session.
    #[error("the worker is not connected")]
    NotConnected,
    /// The worker does not read what it is sent. Its session has been dropped.
    #[error("the worker does not keep up")]
    NotKeepingUp,
}

/// A worker of that name is connected already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker of this name is connected already")]
pub struct NameTaken;

/// A place among the sessions, given up when dropped.
#[derive(Debug)]
pub struct Place {
    sessions: Sessions,
    worker: WorkerId,
    ended: CancellationToken,
}

impl Sessions {
    /// Takes a place for a worker. A name is given to one session at a time.
    pub fn enter(&self, worker: WorkerId, outbound: Outbound) -> Result<Place, NameTaken> {
        let mut sessions = self.lock();
        if sessions.contains_key(&worker) {
            return Err(NameTaken);
        }
        let ended = CancellationToken::new();
        sessions.insert(worker.clone(), Session { outbound, ended: ended.clone(), grants: BTreeMap::new() });
        Ok(Place { sessions: self.clone(), worker, ended })
    }

    /// Sends a message without waiting.
    pub fn send(&self, worker: &WorkerId, message: Message) -> Result<(), SendError> {
        self.lock().get(worker).ok_or(SendError::NotConnected)?.send(worker, message)
    }

    /// Sends a lease, and remembers it as what the slot is at.
    pub fn grant(&self, worker: &WorkerId, slot: u32, lease: LeaseKey, work: Work) -> Result<(), SendError> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(worker).ok_or(SendError::NotConnected)?;
        session.grants.insert(slot, Granted { lease: lease.clone(), kind: TaskKind::from(&work) });
        session.send(worker, Message::Lease(Lease::granting(lease, slot, work)))
    }

    /// Takes a lease back. What the worker says of it from now on does not count.
    pub fn revoke(&self, worker: &WorkerId, lease: LeaseKey) -> Result<(), SendError> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(worker).ok_or(SendError::NotConnected)?;
        session.grants.retain(|_, granted| granted.lease != lease);
        session.send(worker, Message::Revoke(Revoke { key: Some(lease.into()) }))
    }

    /// What a lease of a worker is for; none if it does not count any more.
    pub fn granted(&self, worker: &WorkerId, lease: &LeaseKey) -> Option<TaskKind> {
        let sessions = self.lock();
        let mut grants = sessions.get(worker)?.grants.values();
        grants.find(|granted| granted.lease == *lease).map(|granted| granted.kind)
    }

    /// Ends a worker's session, if it has one.
    pub fn end(&self, worker: &WorkerId) {
        if let Some(session) = self.lock().get(worker) {
            session.ended.cancel();
        }
    }

    /// Ends all sessions.
    pub fn end_all(&self) {
        self.lock().values().for_each(|session| session.ended.cancel());
    }

    /// A panic elsewhere cannot leave the map half changed: every change is one insert or one remove.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn send(&self, worker: &WorkerId, message: Message) -> Result<(), SendError> {
        let message = Ok(ToWorker { message: Some(message) });
        self.outbound.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => SendError::NotConnected,
            mpsc::error::TrySendError::Full(_) => {
                tracing::warn!(%worker, waiting = OUTBOUND_MAX, "worker does not keep up, dropping its session");
                self.ended.cancel();
                SendError::NotKeepingUp
            }
        })
    }
}

impl Place {
    /// Waits until the session shall end.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.worker);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proto::v1;

    fn welcome() -> Message {
        Message::Welcome(v1::Welcome::default())
    }

    #[test]
    fn a_name_is_taken_until_its_session_ends() {
        let sessions = Sessions::default();
        let worker = WorkerId::new("w");
        let (outbound, _inbox) = mpsc::channel(1);
        let place = sessions.enter(worker.clone(), outbound.clone()).unwrap();
        assert_eq!(sessions.enter(worker.clone(), outbound.clone()).unwrap_err(), NameTaken);
        drop(place);
        assert_eq!(sessions.send(&worker, welcome()), Err(SendError::NotConnected));
        sessions.enter(worker, outbound).unwrap();
    }

    #[tokio::test]
    async fn a_worker_that_does_not_read_loses_its_session() {
        let sessions = Sessions::default();
        let worker = WorkerId::new("w");
        let (outbound, _inbox) = mpsc::channel(1);
        let place = sessions.enter(worker.clone(), outbound).unwrap();
        assert_eq!(sessions.send(&worker, welcome()), Ok(()));
        assert_eq!(sessions.send(&worker, welcome()), Err(SendError::NotKeepingUp));
        place.ended().await;
    }
}
