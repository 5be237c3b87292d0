//! The workers that are connected now, and the way to each of them.

use ensemble::cluster::{LeaseKey, Work};
use ensemble::id::{TaskId, WorkerId};
use proto::v1::{Lease, Revoke, ToWorker, Welcome, Yield, to_worker::Message};
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
    /// Which process it is; 0 for one that does not say.
    process: u64,
    outbound: Outbound,
    /// Set while the welcome, which comes first, is not out: what was to be said meanwhile.
    unsaid: Option<Vec<Message>>,
    /// Cancelled when the session shall end.
    ended: CancellationToken,
    /// Cancelled when the session's place is free.
    vacated: CancellationToken,
    /// What each slot was last granted, in this session or in an earlier one that it was kept from: all that the worker
    /// may speak of.
    grants: BTreeMap<u32, Granted>,
}

/// A lease that counts in a session.
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

impl TaskKind {
    /// What a task does by its name, such as `fashion-mnist-1/train/0`.
    pub fn of(task: &TaskId) -> Option<Self> {
        match task.as_str().rsplit('/').nth(1)? {
            "train" => Some(Self::Train),
            "calibrate" => Some(Self::Calibrate),
            "evaluate" => Some(Self::Evaluate),
            _ => None,
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

/// Another process of that name is connected already.
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

/// What came of asking for a place.
enum Entry {
    Free(Place),
    /// The process itself holds it, and has lost the session; the place is free when this is cancelled.
    Own(CancellationToken),
    Taken,
}

impl Sessions {
    /// Takes a place for a worker. A name is given to one process at a time. One that knocks while it has a session has
    /// lost that one: it is ended, and the place taken when its last word has had its effect.
    pub async fn enter(&self, worker: WorkerId, process: u64, outbound: Outbound) -> Result<Place, NameTaken> {
        loop {
            match self.try_enter(&worker, process, &outbound) {
                Entry::Free(place) => return Ok(place),
                Entry::Own(vacated) => vacated.cancelled().await,
                Entry::Taken => return Err(NameTaken),
            }
        }
    }

    fn try_enter(&self, worker: &WorkerId, process: u64, outbound: &Outbound) -> Entry {
        let mut sessions = self.lock();
        if let Some(known) = sessions.get(worker) {
            if process == 0 || process != known.process {
                return Entry::Taken;
            }
            known.ended.cancel();
            return Entry::Own(known.vacated.clone());
        }
        let session = Session::new(process, outbound.clone());
        let ended = session.ended.clone();
        sessions.insert(worker.clone(), session);
        Entry::Free(Place { sessions: self.clone(), worker: worker.clone(), ended })
    }

    /// Sends the welcome, with the leases that were kept, and then what was to be said meanwhile.
    pub fn welcome(&self, worker: &WorkerId, welcome: Welcome) -> Result<(), SendError> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(worker).ok_or(SendError::NotConnected)?;
        let kept = session.grants.values().map(|granted| granted.lease.clone().into()).collect();
        let unsaid = session.unsaid.take().unwrap_or_default();
        session.send(worker, Message::Welcome(Welcome { kept, ..welcome }))?;
        unsaid.into_iter().try_for_each(|message| session.send(worker, message))
    }

    /// Sends a message without waiting.
    pub fn send(&self, worker: &WorkerId, message: Message) -> Result<(), SendError> {
        self.lock().get_mut(worker).ok_or(SendError::NotConnected)?.send(worker, message)
    }

    /// Sends a lease, and remembers it as what the slot is at.
    pub fn grant(&self, worker: &WorkerId, slot: u32, lease: LeaseKey, work: Work) -> Result<(), SendError> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(worker).ok_or(SendError::NotConnected)?;
        session.grants.insert(slot, Granted { lease: lease.clone(), kind: TaskKind::from(&work) });
        session.send(worker, Message::Lease(Lease::granting(lease, slot, work)))
    }

    /// Remembers a lease of an earlier session as what the slot is still at. The welcome tells the worker.
    pub fn keep(&self, worker: &WorkerId, slot: u32, lease: LeaseKey) {
        let kind = TaskKind::of(&lease.task).expect("the cluster's own tasks are named by their kind");
        if let Some(session) = self.lock().get_mut(worker) {
            session.grants.insert(slot, Granted { lease, kind });
        }
    }

    /// Asks for a lease back, after a checkpoint.
    pub fn ask_back(&self, worker: &WorkerId, lease: LeaseKey) -> Result<(), SendError> {
        self.send(worker, Message::Yield(Yield { key: Some(lease.into()) }))
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
    fn new(process: u64, outbound: Outbound) -> Self {
        Self {
            process,
            outbound,
            unsaid: Some(Vec::new()),
            ended: CancellationToken::new(),
            vacated: CancellationToken::new(),
            grants: BTreeMap::new(),
        }
    }

    fn send(&mut self, worker: &WorkerId, message: Message) -> Result<(), SendError> {
        match &mut self.unsaid {
            Some(unsaid) if unsaid.len() < OUTBOUND_MAX => {
                unsaid.push(message);
                return Ok(());
            }
            Some(_) => return Err(self.drop_slow(worker)),
            None => {}
        }
        let message = Ok(ToWorker { message: Some(message) });
        self.outbound.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => SendError::NotConnected,
            mpsc::error::TrySendError::Full(_) => self.drop_slow(worker),
        })
    }

    fn drop_slow(&self, worker: &WorkerId) -> SendError {
        tracing::warn!(%worker, waiting = OUTBOUND_MAX, "worker does not keep up, dropping its session");
        self.ended.cancel();
        SendError::NotKeepingUp
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
        if let Some(session) = self.sessions.lock().remove(&self.worker) {
            session.vacated.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lease(task: &str) -> LeaseKey {
        LeaseKey { task: TaskId::new(task), attempt: 2 }
    }

    /// Enters as a process, with a stream that holds two messages.
    async fn enter(sessions: &Sessions, process: u64) -> (Place, mpsc::Receiver<Result<ToWorker, Status>>) {
        let (outbound, inbox) = mpsc::channel(2);
        (sessions.enter(WorkerId::new("w"), process, outbound).await.unwrap(), inbox)
    }

    fn said(inbox: &mut mpsc::Receiver<Result<ToWorker, Status>>) -> Message {
        inbox.try_recv().unwrap().unwrap().message.unwrap()
    }

    #[tokio::test]
    async fn a_name_belongs_to_one_process_until_its_session_ends() {
        let sessions = Sessions::default();
        let worker = WorkerId::new("w");
        let (place, _inbox) = enter(&sessions, 7).await;
        for other in [0, 8] {
            let (outbound, _inbox) = mpsc::channel(1);
            assert_eq!(sessions.enter(worker.clone(), other, outbound).await.unwrap_err(), NameTaken);
        }
        drop(place);
        assert_eq!(sessions.send(&worker, Message::Renewed(Default::default())), Err(SendError::NotConnected));
        enter(&sessions, 8).await;
    }

    #[tokio::test]
    async fn a_process_takes_the_place_of_its_own_lost_session_once_that_has_ended() {
        let sessions = Sessions::default();
        let (place, _inbox) = enter(&sessions, 7).await;
        let (outbound, _second) = mpsc::channel(1);
        let mut waiting = Box::pin(sessions.enter(WorkerId::new("w"), 7, outbound));
        assert!(futures_poll(&mut waiting).is_none(), "the lost session has not said its last word");
        place.ended().await;
        drop(place);
        waiting.await.unwrap();
    }

    /// Whether a future is ready now.
    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn the_welcome_comes_first_and_names_what_was_kept() {
        let sessions = Sessions::default();
        let worker = WorkerId::new("w");
        let (_place, mut inbox) = enter(&sessions, 7).await;
        sessions.keep(&worker, 0, lease("shapes-1/train/0"));
        sessions.ask_back(&worker, lease("shapes-1/train/0")).unwrap();
        assert!(inbox.try_recv().is_err());
        sessions.welcome(&worker, Welcome::default()).unwrap();
        let Message::Welcome(welcome) = said(&mut inbox) else { panic!("the welcome comes first") };
        assert_eq!(welcome.kept, [lease("shapes-1/train/0").into()]);
        assert!(matches!(said(&mut inbox), Message::Yield(_)));
        assert_eq!(sessions.granted(&worker, &lease("shapes-1/train/0")), Some(TaskKind::Train));
    }

    #[tokio::test]
    async fn a_worker_that_does_not_read_loses_its_session() {
        let sessions = Sessions::default();
        let worker = WorkerId::new("w");
        let (place, _inbox) = enter(&sessions, 7).await;
        sessions.welcome(&worker, Welcome::default()).unwrap();
        let renewed = || Message::Renewed(Default::default());
        assert_eq!(sessions.send(&worker, renewed()), Ok(()));
        assert_eq!(sessions.send(&worker, renewed()), Err(SendError::NotKeepingUp));
        place.ended().await;
    }

    #[test]
    fn a_task_is_named_by_what_it_does() {
        let kind = |name| TaskKind::of(&TaskId::new(name));
        assert_eq!(kind("shapes-1/evaluate/3"), Some(TaskKind::Evaluate));
        assert_eq!(kind("shapes-1/calibrate/0"), Some(TaskKind::Calibrate));
        assert_eq!((kind("shapes-1/fly/0"), kind("train")), (None, None));
    }
}
