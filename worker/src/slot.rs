//! A slot: capacity for one task at a time, and the engine that does them.

use crate::backoff::Backoff;
use crate::engine::Seat;
use crate::outbox::{Outbox, SessionNumber};
use crate::task::{Attempt, Patience, Stop, TaskError};
use crate::transfer::Transfer;
use proto::v1::from_worker::Message;
use proto::v1::{Lease, LeaseKey, Ready};
use std::path::PathBuf;
use std::pin::pin;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Commands that a slot has not looked at yet; it takes seconds at most, to stop a task.
pub const COMMANDS_MAX: usize = 64;

/// What a slot is told. When nobody can tell it anything any more, it ends its engine and is gone.
#[derive(Debug)]
pub enum Command {
    /// A session has begun: ask it for tasks.
    Attach(SessionNumber),
    /// Do this task.
    Grant(Box<Lease>),
    /// End the task of this lease early, if it is at work, and store what it has got so far.
    Yield(LeaseKey),
    /// End the task at work early, whichever it is, and then the slot.
    Drain,
}

/// Where a slot is, and what it works with.
#[derive(Debug)]
pub struct Place {
    /// Its number on this worker.
    pub index: u32,
    /// Where it says things.
    pub outbox: Outbox,
    /// How artifacts come and go.
    pub transfer: Transfer,
    /// The folder for everything that its engine writes.
    pub scratch: PathBuf,
    /// How long its engine may seem to do nothing.
    pub patience: Patience,
}

/// A slot.
#[derive(Debug)]
pub struct Slot {
    place: Place,
    seat: Seat,
    duty: Duty,
    /// Until when the slot asks for nothing, because its engine does not start.
    resting: Option<Instant>,
    rests: Backoff,
}

/// For whom the slot works, which may change while it does.
#[derive(Debug, Default)]
struct Duty {
    session: Option<SessionNumber>,
    is_draining: bool,
}

/// How the work on a lease came to its end.
enum End {
    /// By itself, or as it was asked to.
    Done(Result<(), TaskError>),
    /// The lease is not held any more.
    Lost,
    /// There is another task to do.
    Replaced(Box<Lease>),
    /// The worker is gone.
    Closed,
}

impl Slot {
    /// A slot at its place.
    pub fn new(place: Place, seat: Seat) -> Self {
        Self { place, seat, duty: Duty::default(), resting: None, rests: Backoff::patient() }
    }

    /// Does what it is told, until it is told to end.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while !self.duty.is_draining {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command, &mut commands).await,
                    None => break,
                },
                () = sleep_until(self.resting.unwrap_or_else(Instant::now)), if self.resting.is_some() => {
                    self.resting = None;
                    self.ask().await;
                }
            }
        }
        self.seat.close().await;
    }

    async fn obey(&mut self, command: Command, commands: &mut mpsc::Receiver<Command>) {
        match command {
            Command::Attach(session) => {
                self.duty.session = Some(session);
                self.ask().await;
            }
            Command::Grant(lease) => {
                let mut next = Some(lease);
                while let Some(lease) = next.take() {
                    next = self.work_off(*lease, commands).await;
                }
                self.ask().await;
            }
            // The task has ended by itself meanwhile.
            Command::Yield(_) => {}
            Command::Drain => self.duty.is_draining = true,
        }
    }

    /// Asks for a task, if the slot can do one.
    async fn ask(&mut self) {
        if let (Some(session), None, false) = (self.duty.session, self.resting, self.duty.is_draining) {
            self.place.outbox.remark(session, Message::Ready(Ready { slot: self.place.index })).await;
        }
    }

    /// Works a lease off, or until another comes between, which is returned. Afterwards the engine is free, or gone.
    async fn work_off(&mut self, lease: Lease, commands: &mut mpsc::Receiver<Command>) -> Option<Box<Lease>> {
        let key = lease.key.clone().unwrap_or_default();
        tracing::info!(slot = self.place.index, task = key.task, attempt = key.attempt, "task begins");
        let end = self.attempt(&key, lease, commands).await;
        match &end {
            End::Closed => self.seat.kill_at_work(),
            _ => self.seat.settle().await,
        }
        match end {
            End::Done(done) => self.rest_after(&done),
            End::Lost => tracing::info!(slot = self.place.index, task = key.task, "task stopped: its lease was lost"),
            End::Replaced(lease) => return Some(lease),
            End::Closed => {}
        }
        None
    }

    async fn attempt(&mut self, key: &LeaseKey, lease: Lease, commands: &mut mpsc::Receiver<Command>) -> End {
        let Self { place: Place { outbox, transfer, scratch, patience, .. }, seat, duty, .. } = self;
        let stop = Stop::default();
        let attempt = Attempt { key, outbox, transfer, scratch, stop: &stop, patience: *patience };
        let mut running = pin!(attempt.run(seat, lease));
        loop {
            let command = tokio::select! {
                biased;
                done = running.as_mut() => return End::Done(done),
                () = outbox.lost(key) => return End::Lost,
                command = commands.recv() => command,
            };
            match command {
                Some(Command::Attach(session)) => duty.session = Some(session),
                Some(Command::Grant(lease)) => return End::Replaced(lease),
                Some(Command::Yield(asked)) if asked == *key => stop.ask(),
                Some(Command::Yield(_)) => {}
                Some(Command::Drain) => {
                    duty.is_draining = true;
                    stop.ask();
                }
                None => return End::Closed,
            }
        }
    }

    /// A slot whose engine does not start rests before it asks again, ever longer.
    fn rest_after(&mut self, done: &Result<(), TaskError>) {
        match done {
            Err(TaskError::NoEngine(_)) => self.resting = Some(Instant::now() + self.rests.next()),
            _ => self.rests.reset(),
        }
    }
}
