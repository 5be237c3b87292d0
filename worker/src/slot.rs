//! A slot: capacity for one task at a time, and the engine that does them.

use crate::backoff::Backoff;
use crate::engine::Seat;
use crate::outbox::Outbox;
use crate::task::{Attempt, TaskError};
use crate::transfer::Transfer;
use proto::v1::from_worker::Message;
use proto::v1::{Artifact, Lease, LeaseKey, Ready, TaskFailed, TaskFinished};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// Commands that a slot has not looked at yet; it takes seconds at most, to stop a task.
pub const COMMANDS_MAX: usize = 64;
/// How long a task may take to end early: a step of a large network, and the upload of its checkpoint.
const DRAIN_WITHIN: Duration = Duration::from_secs(6);

/// What a slot is told. When nobody can tell it anything any more, it stops its task, ends its engine and is gone.
#[derive(Debug)]
pub enum Command {
    /// A session has begun: ask it for tasks.
    Attach(Outbox),
    /// The session has ended, and with it every lease.
    Detach,
    /// Do this task.
    Grant(Box<Lease>),
    /// Stop the task of this lease, if it is at work.
    Revoke(LeaseKey),
}

/// A slot.
#[derive(Debug)]
pub struct Slot {
    index: u32,
    seat: Seat,
    transfer: Transfer,
    scratch: PathBuf,
    outbox: Option<Outbox>,
    /// Until when the slot asks for nothing, because its engine does not start.
    resting: Option<Instant>,
    rests: Backoff,
}

/// How the work on a lease came to its end.
enum Outcome {
    Done(Result<Option<Artifact>, TaskError>),
    /// The task must stop.
    Revoked,
    /// The task must stop, for this.
    Interrupted(Command),
    /// The task must stop, and so must the slot.
    Closed,
}

impl Slot {
    /// A slot that works in `scratch`.
    pub fn new(index: u32, seat: Seat, transfer: Transfer, scratch: PathBuf) -> Self {
        Self { index, seat, transfer, scratch, outbox: None, resting: None, rests: Backoff::default() }
    }

    /// Does what it is told, until nobody can tell it anything any more.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command, &mut commands).await,
                    None => break,
                },
                () = sleep_until(self.resting.unwrap_or_else(Instant::now)), if self.resting.is_some() => {
                    self.ask().await;
                }
            }
        }
        self.seat.close().await;
    }

    async fn obey(&mut self, command: Command, commands: &mut mpsc::Receiver<Command>) {
        let mut next = Some(command);
        while let Some(command) = next.take() {
            match command {
                Command::Attach(outbox) => self.attach(outbox).await,
                Command::Detach => self.outbox = None,
                Command::Grant(lease) => next = self.work_off(*lease, commands).await,
                // The task has ended by itself meanwhile.
                Command::Revoke(_) => {}
            }
        }
    }

    async fn attach(&mut self, outbox: Outbox) {
        self.outbox = Some(outbox);
        self.ask().await;
    }

    async fn ask(&mut self) {
        self.resting = None;
        if let Some(outbox) = &self.outbox {
            outbox.send(Message::Ready(Ready { slot: self.index })).await;
        }
    }

    /// Works a lease off, or until a command comes between, which is returned.
    async fn work_off(&mut self, lease: Lease, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        let (Some(outbox), Some(key)) = (self.outbox.clone(), lease.key.clone()) else { return None };
        tracing::info!(slot = self.index, task = key.task, attempt = key.attempt, "task begins");
        match self.attempt(&key, &outbox, lease, commands).await {
            Outcome::Done(done) => {
                self.rest_after(&done);
                outbox.send(conclusion(key, done)).await;
                if self.resting.is_none() && !commands.is_closed() {
                    self.ask().await;
                }
            }
            Outcome::Revoked => {
                tracing::info!(slot = self.index, task = key.task, "task revoked");
                self.ask().await;
            }
            Outcome::Interrupted(command) => return Some(command),
            Outcome::Closed => {}
        }
        None
    }

    /// One attempt at a task. Afterwards the engine is free, or gone.
    async fn attempt(
        &mut self,
        key: &LeaseKey,
        outbox: &Outbox,
        lease: Lease,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Outcome {
        let stop = Notify::new();
        let attempt = Attempt { key, outbox, transfer: &self.transfer, scratch: &self.scratch, stop: &stop };
        let outcome = {
            let mut running = pin!(attempt.run(&mut self.seat, lease));
            tokio::select! {
                biased;
                interruption = interruption(key, commands) => match interruption {
                    Outcome::Closed => drain(running, &stop).await,
                    interruption => interruption,
                },
                done = running.as_mut() => Outcome::Done(done),
            }
        };
        match outcome {
            Outcome::Closed => self.seat.kill_at_work(),
            _ => self.seat.settle().await,
        }
        outcome
    }

    /// A slot whose engine does not start rests before it asks again, ever longer.
    fn rest_after(&mut self, done: &Result<Option<Artifact>, TaskError>) {
        match done {
            Err(TaskError::NoEngine(_)) => self.resting = Some(Instant::now() + self.rests.next()),
            _ => self.rests.reset(),
        }
    }
}

/// Has a task end early and store what it has got so far, so that whoever goes on with it loses nothing. If it is done
/// before it can be stopped, all the better.
async fn drain(attempt: impl Future<Output = Result<Option<Artifact>, TaskError>>, stop: &Notify) -> Outcome {
    stop.notify_one();
    match timeout(DRAIN_WITHIN, attempt).await {
        Ok(Ok(artifact)) => Outcome::Done(Ok(artifact)),
        // The lease is handed back, which is no failure.
        Ok(Err(_)) | Err(_) => Outcome::Closed,
    }
}

/// Waits for a command that ends the task at work.
async fn interruption(key: &LeaseKey, commands: &mut mpsc::Receiver<Command>) -> Outcome {
    loop {
        match commands.recv().await {
            Some(Command::Revoke(revoked)) if revoked == *key => return Outcome::Revoked,
            Some(Command::Revoke(_)) => {}
            // Whoever grants a second task to the slot, or opens a session, counts on the first one no more.
            Some(command) => return Outcome::Interrupted(command),
            None => return Outcome::Closed,
        }
    }
}

fn conclusion(key: LeaseKey, done: Result<Option<Artifact>, TaskError>) -> Message {
    match done {
        Ok(artifact) => {
            tracing::info!(task = key.task, "task done");
            Message::Finished(TaskFinished { key: Some(key), artifact })
        }
        Err(error) => {
            tracing::warn!(task = key.task, %error, "task failed");
            let (class, message) = (error.class().into(), error.to_string());
            Message::Failed(TaskFailed { key: Some(key), class, message })
        }
    }
}
