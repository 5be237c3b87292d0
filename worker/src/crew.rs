//! All who work on this host: the slots and the serving side, each a task of its own behind a queue.

use crate::engine::{EngineError, Program, Seat};
use crate::options::Config;
use crate::outbox::Outbox;
use crate::serving::{self, Serving};
use crate::slot::{self, Slot};
use crate::transfer::Transfer;
use proto::v1::from_worker::Message;
use proto::v1::{Host, Lease, LeaseKey, Predict, Predicted};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A slot stops its task and its engine within this time, or its engine is killed with the worker.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// The slots and the serving side.
#[derive(Debug)]
pub struct Crew {
    slots: Vec<Sender<slot::Command>>,
    serving: Option<Sender<serving::Command>>,
    tasks: JoinSet<()>,
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

impl Crew {
    /// Starts an engine for each slot, so that a host that cannot compute is found out before it gets a task.
    ///
    /// # Errors
    /// When an engine cannot be started.
    pub async fn start(config: &Config, transfer: &Transfer, scratch: &Path) -> Result<Self, EngineError> {
        let program = |device| Program { path: config.engine.clone(), device, threads: config.threads_per_slot };
        let seats = warm_seats(config.devices.iter().map(|device| program(*device))).await?;
        let (mut slots, mut tasks) = (Vec::new(), JoinSet::new());
        for (index, seat) in (0..).zip(seats) {
            let (sender, commands) = mpsc::channel(slot::COMMANDS_MAX);
            let slot = Slot::new(index, seat, transfer.clone(), scratch.join(format!("slot-{index}")));
            tasks.spawn(slot.run(commands));
            slots.push(sender);
        }
        let (sender, commands) = mpsc::channel(serving::COMMANDS_MAX);
        tasks.spawn(Serving::new(program(config.devices[0]), transfer.clone()).run(commands));
        Ok(Self { slots, serving: Some(sender), tasks })
    }

    /// A session has begun.
    pub async fn attach(&self, outbox: &Outbox) {
        if let Some(serving) = &self.serving {
            let _ = serving.send(serving::Command::Attach(outbox.clone())).await;
        }
        for slot in &self.slots {
            let _ = slot.send(slot::Command::Attach(outbox.clone())).await;
        }
    }

    /// The session has ended.
    pub async fn detach(&self) {
        for slot in &self.slots {
            let _ = slot.send(slot::Command::Detach).await;
        }
        if let Some(serving) = &self.serving {
            let _ = serving.send(serving::Command::Detach).await;
        }
    }

    /// Gives a slot a task.
    ///
    /// # Errors
    /// When there is no such slot, or it has too many orders already.
    pub fn grant(&self, lease: Lease) -> Result<(), Overrun> {
        let index = lease.slot as usize;
        let slot = self.slots.get(index).ok_or(Overrun::NoSlot(lease.slot))?;
        slot.try_send(slot::Command::Grant(Box::new(lease))).map_err(|_| Overrun::Slot(index))
    }

    /// Stops a task, wherever it is.
    ///
    /// # Errors
    /// When a slot has too many orders already.
    pub fn revoke(&self, key: LeaseKey) -> Result<(), Overrun> {
        for (index, slot) in self.slots.iter().enumerate() {
            slot.try_send(slot::Command::Revoke(key.clone())).map_err(|_| Overrun::Slot(index))?;
        }
        Ok(())
    }

    /// Loads a predictor.
    ///
    /// # Errors
    /// When the serving side has too many orders already.
    pub fn host(&self, host: Host) -> Result<(), Overrun> {
        self.serve(serving::Command::Host(host))
    }

    /// Forgets a predictor.
    ///
    /// # Errors
    /// As [`Crew::host`].
    pub fn unhost(&self, predictor: String) -> Result<(), Overrun> {
        self.serve(serving::Command::Unhost(predictor))
    }

    /// Predicts. A prediction for which there is no room is answered so at once, in `outbox`.
    pub fn predict(&self, predict: Predict, outbox: &Outbox) {
        let (request, predictor) = (predict.request, predict.predictor.clone());
        if self.serve(serving::Command::Predict(predict)).is_err() {
            let error = "this worker has more predictions to make than it can".to_owned();
            outbox.offer(Message::Predicted(Predicted { request, predictor, error, members: Vec::new() }));
        }
    }

    fn serve(&self, command: serving::Command) -> Result<(), Overrun> {
        let serving = self.serving.as_ref().ok_or(Overrun::Serving)?;
        serving.try_send(command).map_err(|_| Overrun::Serving)
    }

    /// Has everybody stop and end their engines, and waits for it.
    pub async fn close(&mut self) {
        self.slots.clear();
        self.serving = None;
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(CLOSE_WITHIN, ended).await.is_err() {
            tracing::warn!("an engine does not stop and is killed");
            self.tasks.shutdown().await;
        }
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
