//! All who work on this host: the slots and the serving side, each a task of its own behind a queue.

use crate::engine::{EngineError, Program, Seat};
use crate::options::Config;
use crate::outbox::{Outbox, SessionNumber};
use crate::serving::{self, Serving};
use crate::slot::{self, Slot};
use crate::transfer::Transfer;
use proto::v1::from_worker::Message;
use proto::v1::{Host, Lease, LeaseKey, Predict, Predicted};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Uri;

/// Engines that are killed are gone within this time.
const KILL_WITHIN: Duration = Duration::from_secs(2);

/// Who does what the coordinator asks for. It never waits: what takes time is done beside the keeper.
pub trait Crew {
    /// A session with the coordinator at this address has begun.
    ///
    /// # Errors
    /// When somebody has too many orders already, as for all that follow.
    fn attach(&self, session: SessionNumber, coordinator: &Uri) -> Result<(), Overrun>;

    /// Gives a slot a task. One that comes while the worker drains is left alone: all leases are handed back at the end.
    fn grant(&self, lease: Lease) -> Result<(), Overrun>;

    /// Stops a task, wherever it is: nothing more is said of it from now on.
    fn revoke(&self, key: &LeaseKey);

    /// Has a task end early, with what it has got so far stored, wherever it is.
    fn ask_back(&self, key: &LeaseKey) -> Result<(), Overrun>;

    /// Loads a predictor.
    fn host(&self, host: Host) -> Result<(), Overrun>;

    /// Forgets a predictor.
    fn unhost(&self, predictor: String) -> Result<(), Overrun>;

    /// Predicts. A prediction for which there is no room is answered so at once.
    fn predict(&self, predict: Predict, session: SessionNumber);

    /// Has everybody finish: tasks end early and store what they have, predictions in flight are answered, engines end, and
    /// all results are recorded. Whoever is not done within `limit` is ended.
    fn drain(&mut self, limit: Duration) -> impl Future<Output = ()> + Send + use<Self> + 'static;
}

/// The slots and the serving side, each with its engine.
#[derive(Debug)]
pub struct Engines {
    slots: Vec<Sender<slot::Command>>,
    serving: Sender<serving::Command>,
    tasks: JoinSet<()>,
    outbox: Outbox,
    transfer: Transfer,
}

/// The coordinator says more than can be done: a queue is full.
#[derive(Debug, thiserror::Error)]
pub enum Overrun {
    /// Of a slot.
    #[error("the coordinator overran slot {0} with orders")]
    Slot(usize),
    /// Of the serving side.
    #[error("the coordinator overran the serving side with orders")]
    Serving,
    /// There is no such slot.
    #[error("the coordinator granted a lease for slot {0}, which this worker does not have")]
    NoSlot(u32),
}

impl Engines {
    /// Starts an engine for each slot, so that a host that cannot compute is found out before it gets a task.
    ///
    /// # Errors
    /// When an engine cannot be started.
    pub async fn start(
        config: &Config,
        outbox: &Outbox,
        transfer: &Transfer,
        scratch: &Path,
    ) -> Result<Self, EngineError> {
        let program = |device| Program { path: config.engine.clone(), device, threads: config.threads_per_slot };
        let seats = warm_seats(config.devices.iter().map(|device| program(*device))).await?;
        let (mut slots, mut tasks) = (Vec::new(), JoinSet::new());
        for (index, seat) in (0..).zip(seats) {
            let (sender, commands) = mpsc::channel(slot::COMMANDS_MAX);
            let place = slot::Place {
                index,
                outbox: outbox.clone(),
                transfer: transfer.clone(),
                scratch: scratch.join(format!("slot-{index}")),
                patience: config.patience,
            };
            tasks.spawn(Slot::new(place, seat).run(commands));
            slots.push(sender);
        }
        let (serving, commands) = mpsc::channel(serving::COMMANDS_MAX);
        tasks.spawn(Serving::new(program(config.devices[0]), transfer.clone(), outbox.clone()).run(commands));
        Ok(Self { slots, serving, tasks, outbox: outbox.clone(), transfer: transfer.clone() })
    }

    fn serve(&self, command: serving::Command) -> Result<(), Overrun> {
        match self.serving.try_send(command) {
            Err(TrySendError::Full(_)) => Err(Overrun::Serving),
            _ => Ok(()),
        }
    }
}

impl Crew for Engines {
    fn attach(&self, session: SessionNumber, coordinator: &Uri) -> Result<(), Overrun> {
        self.transfer.turn_to(coordinator);
        self.serve(serving::Command::Attach(session))?;
        self.slots.iter().enumerate().try_for_each(|(index, slot)| tell(index, slot, slot::Command::Attach(session)))
    }

    fn grant(&self, lease: Lease) -> Result<(), Overrun> {
        let index = lease.slot as usize;
        let slot = self.slots.get(index).ok_or(Overrun::NoSlot(lease.slot))?;
        let key = lease.key.clone().unwrap_or_default();
        self.outbox.hold(lease.slot, key.clone());
        // Nobody is at what could not be told: the next session must not claim it.
        tell(index, slot, slot::Command::Grant(Box::new(lease))).inspect_err(|_| self.outbox.let_go(&key))
    }

    fn revoke(&self, key: &LeaseKey) {
        self.outbox.let_go(key);
    }

    fn ask_back(&self, key: &LeaseKey) -> Result<(), Overrun> {
        let ask = |(index, slot)| tell(index, slot, slot::Command::Yield(key.clone()));
        self.slots.iter().enumerate().try_for_each(ask)
    }

    fn host(&self, host: Host) -> Result<(), Overrun> {
        self.serve(serving::Command::Host(host))
    }

    fn unhost(&self, predictor: String) -> Result<(), Overrun> {
        self.serve(serving::Command::Unhost(predictor))
    }

    fn predict(&self, predict: Predict, session: SessionNumber) {
        let (request, predictor) = (predict.request, predict.predictor.clone());
        if self.serving.try_send(serving::Command::Predict(predict)).is_err() {
            let error = "this worker has more predictions to make than it can".to_owned();
            let answer = Predicted { request, predictor, error, members: Vec::new() };
            self.outbox.remark_if_room(session, Message::Predicted(answer));
        }
    }

    fn drain(&mut self, limit: Duration) -> impl Future<Output = ()> + Send + use<> {
        let until = Instant::now() + limit;
        for slot in &self.slots {
            let _ = slot.try_send(slot::Command::Drain);
        }
        let _ = self.serving.try_send(serving::Command::Drain);
        let (mut tasks, outbox) = (std::mem::take(&mut self.tasks), self.outbox.clone());
        async move {
            let ended = async { while tasks.join_next().await.is_some() {} };
            if timeout_at(until, ended).await.is_err() {
                tracing::warn!(limit_s = limit.as_secs_f64(), "not everything ended in time, the rest is killed");
                let _ = timeout(KILL_WITHIN, tasks.shutdown()).await;
            }
            if timeout_at(until, outbox.settled()).await.is_err() {
                tracing::warn!("the coordinator has not recorded everything");
            }
        }
    }
}

/// A slot that has ended needs to be told nothing.
fn tell(index: usize, slot: &Sender<slot::Command>, command: slot::Command) -> Result<(), Overrun> {
    match slot.try_send(command) {
        Err(TrySendError::Full(_)) => Err(Overrun::Slot(index)),
        _ => Ok(()),
    }
}

/// Seats with running engines, started side by side.
async fn warm_seats(programs: impl Iterator<Item = Program>) -> Result<Vec<Seat>, EngineError> {
    let warm = |program| async move {
        let mut seat = Seat::new(program);
        seat.warm_up().await.map(|()| seat)
    };
    let starting: Vec<_> = programs.map(|program| tokio::spawn(warm(program))).collect();
    let mut seats = Vec::with_capacity(starting.len());
    for seat in starting {
        seats.push(seat.await.expect("starting an engine does not panic")?);
    }
    Ok(seats)
}
