//! The worker's side of a session: opened, kept alive, and opened again for as long as the process lives.

use super::super::defect::Defect;
use super::super::env::Env;
use super::super::network::Side;
use super::super::wire::{FromWorker, Hello, ToWorker};
use super::{Process, Time, Wake, Worker};
use ensemble::cluster::{LeaseKey, Millis};

/// On the worker's clock, in milliseconds.
const HEARTBEAT_EVERY: Time = 2_000;
/// A coordinator that takes a connection greets within this time.
const WELCOME_WITHIN: Time = 5_000;
/// Pauses between attempts to open a session.
const BACKOFF: (Time, Time) = (100, 2_000);
/// A process that drains ends after this long, whatever was not heard.
const FAREWELL_WITHIN: Time = 3_000;

/// How it stands with the coordinator.
#[derive(Clone, Copy, Debug)]
pub enum Session {
    Apart,
    /// Asked for; `asked` is on the worker's clock.
    Opening {
        connection: usize,
        asked: Time,
    },
    Open {
        connection: usize,
    },
}

impl Session {
    pub fn connection(self) -> Option<usize> {
        match self {
            Self::Apart => None,
            Self::Opening { connection, .. } | Self::Open { connection } => Some(connection),
        }
    }
}

impl Process {
    pub(super) fn open_connection(&self) -> Option<usize> {
        match self.session {
            Session::Open { connection } => Some(connection),
            Session::Apart | Session::Opening { .. } => None,
        }
    }
}

impl Worker {
    pub(super) fn connect(&mut self, env: &mut Env) {
        if !matches!(self.running().session, Session::Apart) {
            return;
        }
        if !env.coordinator_listens {
            return self.back_off(env);
        }
        let connection = env.network.connect(self.index);
        let asked = self.local(env.now);
        let process = self.running();
        let slots = process.slots.iter().map(|slot| slot.holds(&process.outbox)).collect();
        let hello = Hello { process: process.number, slots };
        process.session = Session::Opening { connection, asked };
        env.note(|| format!("{} says hello on #{connection}: {:?}", self.name, hello.slots));
        env.send_up(connection, FromWorker::Hello(hello));
        self.wake_at(env, env.now + WELCOME_WITHIN, Wake::Unwelcome { connection });
    }

    fn back_off(&mut self, env: &mut Env) {
        let process = self.running();
        process.refusals = (process.refusals + 1).min(6);
        let longest = (BACKOFF.0 << process.refusals).min(BACKOFF.1);
        let at = env.now + env.random.within(BACKOFF.0, longest);
        self.wake_at(env, at, Wake::Connect);
    }

    pub(super) fn give_up_opening(&mut self, env: &mut Env, connection: usize) {
        if matches!(self.running().session, Session::Opening { connection: opening, .. } if opening == connection) {
            self.hang_up(env);
        }
    }

    /// Ends the session from this side, and asks for another.
    fn hang_up(&mut self, env: &mut Env) {
        if let Some(connection) = self.running().session.connection() {
            env.close(connection, Side::Worker);
            self.apart(env);
        }
    }

    /// The connection is broken. Nothing stops because of that.
    pub fn broken(&mut self, env: &mut Env, connection: usize) {
        if self.process.as_ref().is_some_and(|process| process.session.connection() == Some(connection)) {
            env.note(|| format!("{} finds #{connection} broken", self.name));
            self.apart(env);
        }
    }

    fn apart(&mut self, env: &mut Env) {
        let process = self.running();
        process.session = Session::Apart;
        process.fence.forget();
        process.slots.iter_mut().for_each(|slot| slot.asked = false);
        self.back_off(env);
    }

    pub(super) fn beat(&mut self, env: &mut Env, connection: usize) {
        if self.running().open_connection() != Some(connection) {
            return;
        }
        let now = self.local(env.now);
        self.running().fence.sent(now);
        env.send_up(connection, FromWorker::Heartbeat);
        let next = self.when(now + HEARTBEAT_EVERY);
        self.wake_at(env, next, Wake::Beat { connection });
    }

    /// Whether the leases may have run out. The engines go on; nothing is stored or told until a new session says which
    /// leases still count.
    pub(super) fn look_at_fence(&mut self, env: &mut Env) {
        let now = self.local(env.now);
        let fence = &mut self.running().fence;
        if fence.fallen || env.defect == Some(Defect::NoFence) {
            return;
        }
        let falls = fence.falls();
        if falls > now {
            let at = self.when(falls);
            return self.wake_at(env, at, Wake::Fence);
        }
        fence.fallen = true;
        env.note(|| format!("{} fences itself", self.name));
        self.running().slots.iter_mut().for_each(super::Slot::fence);
        self.hang_up(env);
    }

    /// A message of the session.
    pub fn obey(&mut self, env: &mut Env, connection: usize, order: ToWorker) {
        if self.running().session.connection() != Some(connection) {
            return;
        }
        match order {
            ToWorker::Welcome { lease_ms, kept } => self.welcome(env, connection, lease_ms, &kept),
            ToWorker::Renewed => self.running().fence.renewed(),
            ToWorker::Lease { slot, lease, work } => self.granted(env, slot as usize, lease, *work),
            ToWorker::Revoke { lease } => self.revoked(env, &lease),
            ToWorker::Yield { lease } => self.asked_to_yield(env, &lease),
            ToWorker::Recorded { number } => self.recorded(env, number),
        }
    }

    fn welcome(&mut self, env: &mut Env, connection: usize, lease_ms: Millis, kept: &[LeaseKey]) {
        let Session::Opening { asked, .. } = self.running().session else { return };
        let process = self.running();
        process.session = Session::Open { connection };
        process.refusals = 0;
        process.fence.raise(asked, lease_ms);
        let again = process.outbox.again();
        if env.defect != Some(Defect::ReportsForgotten) {
            again.into_iter().for_each(|message| env.send_up(connection, message));
        }
        let falls = self.running().fence.falls();
        let falls = self.when(falls);
        self.wake_at(env, falls, Wake::Fence);
        self.beat(env, connection);
        self.settle(env, kept);
    }

    fn recorded(&mut self, env: &mut Env, number: u64) {
        self.running().outbox.recorded(number);
        self.leave_if_done(env);
    }

    /// Asks the process to end: tasks are checkpointed and handed back first.
    pub fn drain(&mut self, env: &mut Env) -> bool {
        if self.process.as_ref().is_none_or(|process| process.draining) {
            return false;
        }
        env.note(|| format!("{} is asked to end", self.name));
        self.running().draining = true;
        self.wake_at(env, env.now + FAREWELL_WITHIN * 10, Wake::Exit);
        self.yield_all(env);
        self.leave_if_done(env);
        true
    }

    /// A process that drains says good-bye when it works on nothing and all its reports are recorded.
    pub(super) fn leave_if_done(&mut self, env: &mut Env) {
        let process = self.running();
        let done = process.outbox.is_empty() && process.slots.iter().all(super::Slot::is_free);
        let Some(connection) = process.open_connection().filter(|_| process.draining && done) else { return };
        env.send_up(connection, FromWorker::Drained);
        self.wake_at(env, env.now + FAREWELL_WITHIN, Wake::Exit);
    }
}
