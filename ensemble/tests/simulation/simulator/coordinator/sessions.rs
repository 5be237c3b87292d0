//! The coordinator's side of sessions.

use super::super::env::Env;
use super::super::network::Side;
use super::super::wire::{FromWorker, Hello, Report, ToWorker};
use super::driver::{Reply, Request};
use super::{Coordinator, Effect};
use ensemble::cluster::{Command, LeaseKey, LeaveReason, Rejection};
use ensemble::id::WorkerId;

/// A worker's session: one for each name.
#[derive(Debug)]
pub struct Session {
    pub connection: usize,
    process: u64,
    /// Whether the worker has been greeted. Nothing else is said before.
    greeted: bool,
    /// Orders that wait for the greeting.
    held: Vec<ToWorker>,
}

impl Coordinator {
    /// A message of a worker. What comes over a connection that has no session any more is dropped; what matters comes
    /// again over the next one.
    pub fn hear(
        &mut self,
        env: &mut Env,
        connection: usize,
        worker: &super::super::worker::Worker,
        message: FromWorker,
    ) {
        if let FromWorker::Hello(hello) = message {
            return self.greet(env, connection, worker, hello);
        }
        let Some(process) = self.session(worker.index, connection).map(|session| session.process) else { return };
        let name = worker.name.clone();
        let (command, reply) = match message {
            FromWorker::Hello(_) => unreachable!("it was just told apart"),
            FromWorker::Heartbeat => (Command::Heartbeat { worker: name }, Reply::Heartbeat { connection }),
            FromWorker::Ready { slot } => (Command::Ready { worker: name, slot }, Reply::None),
            FromWorker::Report { number, report } => return self.report(env, connection, process, number, *report),
            FromWorker::Drained => {
                self.sessions.remove(&worker.index);
                env.close(connection, Side::Coordinator);
                (Command::Leave { worker: name, reason: LeaveReason::Drained }, Reply::None)
            }
        };
        self.push(env, Request::Apply { command: Box::new(command), reply });
    }

    /// A report, which may be of a session that is over: what was said is said.
    pub fn report(&mut self, env: &mut Env, connection: usize, process: u64, number: u64, report: Report) {
        let worker = env.network.worker_of(connection);
        let reply = Reply::Report { connection, worker, process, number };
        // Only who is at a task may say that what it starts from is damaged. What else it says is judged by its lease.
        let damage = matches!(report.command, Command::ReportDamaged { .. });
        if damage && !self.is_at_work(worker, &report.lease) {
            return self.push(env, Request::Refuse { lease: report.lease, reply });
        }
        self.push(env, Request::Apply { command: Box::new(report.command), reply });
    }

    fn is_at_work(&self, worker: usize, lease: &LeaseKey) -> bool {
        let tasks = lease.task.job().and_then(|job| self.cluster.tasks(&job).ok()).unwrap_or_default();
        let task = tasks.into_iter().find(|task| task.id == lease.task && task.attempt == lease.attempt);
        task.and_then(|task| task.at).is_some_and(|(at, _)| at == name(worker))
    }

    fn greet(&mut self, env: &mut Env, connection: usize, worker: &super::super::worker::Worker, hello: Hello) {
        if let Some(session) = self.sessions.get(&worker.index) {
            if session.process != hello.process {
                env.note(|| format!("{} is refused: its name is taken", worker.name));
                return env.close(connection, Side::Coordinator);
            }
            env.close(session.connection, Side::Coordinator);
        }
        let session = Session { connection, process: hello.process, greeted: false, held: Vec::new() };
        self.sessions.insert(worker.index, session);
        let slots = worker.join_slots(&hello.slots);
        let command = Command::Join { worker: worker.name.clone(), slots };
        self.push(env, Request::Apply { command: Box::new(command), reply: Reply::Hello { connection } });
    }

    /// A connection broke.
    pub fn broken(&mut self, env: &mut Env, connection: usize, worker: usize) {
        if self.session(worker, connection).is_some() {
            self.sessions.remove(&worker);
            let command = Command::Leave { worker: name(worker), reason: LeaveReason::Disconnected };
            self.push(env, Request::Apply { command: Box::new(command), reply: Reply::None });
        }
    }

    pub(super) fn welcome(&mut self, env: &mut Env, connection: usize, applied: Result<Vec<Effect>, Rejection>) {
        let worker = env.network.worker_of(connection);
        let lease_ms = self.cluster.settings().lease_ms;
        let Some(session) = self.session(worker, connection) else { return };
        let effects = applied.expect("invariant_a_worker_that_fits_may_join");
        let kept = effects.into_iter().filter_map(|effect| match effect {
            Effect::Kept { worker: of, lease, .. } if of == name(worker) => Some(lease),
            _ => None,
        });
        session.greeted = true;
        let held = std::mem::take(&mut session.held);
        env.send_down(connection, ToWorker::Welcome { lease_ms, kept: kept.collect() });
        held.into_iter().for_each(|order| env.send_down(connection, order));
    }

    pub(super) fn renewed(&mut self, env: &mut Env, connection: usize, applied: &Result<Vec<Effect>, Rejection>) {
        if applied.is_ok() {
            env.send_down(connection, ToWorker::Renewed);
        }
    }

    /// What a report came to is durable: the worker may forget it. If its lease does not count any more, it is told.
    pub(super) fn recorded(
        &mut self,
        env: &mut Env,
        connection: usize,
        worker: usize,
        number: u64,
        applied: &Result<Vec<Effect>, Rejection>,
    ) {
        if self.session(worker, connection).is_none() {
            return;
        }
        if let Err(Rejection::StaleLease(lease)) = applied {
            env.send_down(connection, ToWorker::Revoke { lease: lease.clone() });
        }
        env.send_down(connection, ToWorker::Recorded { number });
    }

    /// Says what an effect has for a worker, if it has a session. If it has none, it will learn in the next.
    pub(super) fn tell_worker(&mut self, env: &mut Env, effect: Effect) {
        let (worker, order) = match effect {
            Effect::Grant { worker, slot, lease, work } => {
                (worker, ToWorker::Lease { slot, lease, work: Box::new(work) })
            }
            Effect::Revoke { worker, lease } => (worker, ToWorker::Revoke { lease }),
            Effect::Yield { worker, lease } => (worker, ToWorker::Yield { lease }),
            Effect::Lost { worker } => return self.end_session(env, index(&worker)),
            other => unreachable!("{other:?} is not for workers"),
        };
        let Some(session) = self.sessions.get_mut(&index(&worker)) else { return };
        match session.greeted {
            true => env.send_down(session.connection, order),
            false => session.held.push(order),
        }
    }

    fn end_session(&mut self, env: &mut Env, worker: usize) {
        if let Some(session) = self.sessions.remove(&worker) {
            env.close(session.connection, Side::Coordinator);
        }
    }

    /// The process at the other end of a connection, if that is its session.
    pub fn process_at(&self, worker: usize, connection: usize) -> Option<u64> {
        self.sessions.get(&worker).filter(|session| session.connection == connection).map(|session| session.process)
    }

    fn session(&mut self, worker: usize, connection: usize) -> Option<&mut Session> {
        self.sessions.get_mut(&worker).filter(|session| session.connection == connection)
    }
}

fn name(worker: usize) -> WorkerId {
    WorkerId::new(format!("w{worker}"))
}

/// The number in a worker's name.
fn index(worker: &WorkerId) -> usize {
    worker.as_str()[1..].parse().expect("workers are called w and a number")
}
