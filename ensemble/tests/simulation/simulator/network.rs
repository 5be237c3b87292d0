//! The network between workers and the coordinator: connections that keep messages in order, and break.
//!
//! A connection is what a gRPC stream is: what one end sends arrives at the other in order and once, later than it was
//! sent, or not at all because the connection broke before. What arrives twice was sent twice. While a link is cut,
//! messages wait, as TCP's do; if an end gives the connection up meanwhile, they are lost.

use super::agenda::{Agenda, Event, Time};
use super::faults::{Fault, Faults};
use super::random::Random;
use super::wire::{FromWorker, ToWorker};
use std::collections::VecDeque;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Worker,
    Coordinator,
}

/// The usual time that a message takes, in milliseconds.
const DELAY: (Time, Time) = (1, 12);

/// All connections that ever were, and how each worker's link is now.
#[derive(Debug)]
pub struct Network {
    connections: Vec<Connection>,
    links: Vec<Link>,
    random: Random,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub worker: usize,
    up: VecDeque<FromWorker>,
    down: VecDeque<ToWorker>,
    /// When the newest message in each direction arrives: none overtakes another.
    last: [Time; 2],
    open: [bool; 2],
}

/// The weather between a worker and the coordinator.
#[derive(Clone, Debug, Default)]
struct Link {
    cut_until: [Time; 2],
    slow_until: Time,
    slow_ms: Time,
    twice_until: Time,
}

impl Network {
    pub fn new(workers: usize, random: Random) -> Self {
        Self { connections: Vec::new(), links: vec![Link::default(); workers], random }
    }

    /// Opens a connection from a worker, and gives its number.
    pub fn connect(&mut self, worker: usize) -> usize {
        let connection =
            Connection { worker, up: VecDeque::new(), down: VecDeque::new(), last: [0; 2], open: [true; 2] };
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// The worker that opened a connection.
    pub fn worker_of(&self, connection: usize) -> usize {
        self.connections[connection].worker
    }

    pub fn is_open(&self, connection: usize, side: Side) -> bool {
        self.connections[connection].open[side as usize]
    }

    pub fn send_up(&mut self, now: Time, agenda: &mut Agenda, connection: usize, message: FromWorker) {
        if self.is_open(connection, Side::Worker) {
            self.connections[connection].up.push_back(message);
            self.dispatch(now, agenda, connection, Side::Coordinator);
        }
    }

    pub fn send_down(&mut self, now: Time, agenda: &mut Agenda, connection: usize, message: ToWorker) {
        if self.is_open(connection, Side::Coordinator) {
            self.connections[connection].down.push_back(message);
            self.dispatch(now, agenda, connection, Side::Worker);
        }
    }

    fn dispatch(&mut self, now: Time, agenda: &mut Agenda, connection: usize, to: Side) {
        let at = now + self.delay(now, self.worker_of(connection));
        let last = &mut self.connections[connection].last[to as usize];
        *last = at.max(*last);
        agenda.set(*last, Event::Arrival { connection, at: to });
    }

    fn delay(&mut self, now: Time, worker: usize) -> Time {
        let usual = self.random.within(DELAY.0, DELAY.1);
        let link = &self.links[worker];
        if now < link.slow_until { usual + self.random.below(link.slow_ms) } else { usual }
    }

    /// Until when what just reached the given end of a connection is held up by a cut.
    pub fn held_up(&self, now: Time, connection: usize, at: Side) -> Option<Time> {
        let until = self.links[self.worker_of(connection)].cut_until[at as usize];
        (until > now).then_some(until)
    }

    /// The message that arrives at the coordinator; none if either end has given the connection up.
    pub fn arrive_up(&mut self, connection: usize) -> Option<FromWorker> {
        let message = self.connections[connection].up.pop_front()?;
        self.is_open(connection, Side::Coordinator).then_some(message)
    }

    /// The message that arrives at the worker.
    pub fn arrive_down(&mut self, connection: usize) -> Option<ToWorker> {
        let message = self.connections[connection].down.pop_front()?;
        self.is_open(connection, Side::Worker).then_some(message)
    }

    /// One end closes a connection. The other notices once a message gets through, which is late on a link that is cut.
    pub fn close(&mut self, now: Time, agenda: &mut Agenda, connection: usize, side: Side) {
        if !std::mem::replace(&mut self.connections[connection].open[side as usize], false) {
            return;
        }
        let other = side.other();
        if self.is_open(connection, other) {
            let at = now + self.delay(now, self.worker_of(connection));
            agenda
                .set(at.max(self.connections[connection].last[other as usize]), Event::Break { connection, at: other });
        }
    }

    /// A break is noticed at one end. Says whether that end still held the connection.
    pub fn notice_break(&mut self, connection: usize, side: Side) -> bool {
        std::mem::replace(&mut self.connections[connection].open[side as usize], false)
    }

    /// Breaks a connection, so that both ends notice soon and what is under way is lost.
    pub fn reset(&mut self, now: Time, agenda: &mut Agenda, connection: usize) {
        self.connections[connection].up.clear();
        self.connections[connection].down.clear();
        for side in [Side::Worker, Side::Coordinator] {
            if self.is_open(connection, side) {
                agenda.set(now + self.random.within(0, 50), Event::Break { connection, at: side });
            }
        }
    }

    /// The newest connection of a worker that both ends hold.
    pub fn connection_of(&self, worker: usize) -> Option<usize> {
        let held = |connection: &Connection| connection.worker == worker && connection.open == [true; 2];
        self.connections.iter().rposition(held)
    }

    /// Nothing reaches the given end of a worker's link for a while.
    pub fn cut(&mut self, worker: usize, at: Side, until: Time) {
        let link = &mut self.links[worker].cut_until[at as usize];
        *link = until.max(*link);
    }

    pub fn is_cut(&self, now: Time, worker: usize) -> bool {
        self.links[worker].cut_until.iter().any(|&until| until > now)
    }

    pub fn slow(&mut self, worker: usize, slow_ms: Time, until: Time) {
        let link = &mut self.links[worker];
        (link.slow_ms, link.slow_until) = (slow_ms, until.max(link.slow_until));
    }

    /// For a while, what a worker reports arrives more than once.
    pub fn repeat(&mut self, worker: usize, until: Time) {
        let link = &mut self.links[worker];
        link.twice_until = until.max(link.twice_until);
    }

    /// How often and how much later a report comes again.
    pub fn repeats(&mut self, now: Time, worker: usize, faults: &mut Faults) -> Option<Time> {
        if now >= self.links[worker].twice_until || !self.random.one_in(3) {
            return None;
        }
        let late = if self.random.one_in(2) { 0 } else { self.random.within(50, 8_000) };
        faults.strike(if late == 0 { Fault::Duplicate } else { Fault::Reorder });
        Some(late)
    }

    /// All links are well from now on.
    pub fn heal(&mut self, now: Time) {
        for link in &mut self.links {
            *link = Link { cut_until: link.cut_until.map(|until| until.min(now)), ..Link::default() };
        }
    }
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Worker => Self::Coordinator,
            Self::Coordinator => Self::Worker,
        }
    }
}
