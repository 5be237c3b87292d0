//! Virtual time: what will happen, and when.

use super::network::Side;
use super::wire::Report;
use super::worker::Wake;
use std::collections::BTreeMap;

/// Milliseconds since the world began.
pub type Time = u64;

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// An action of the plan, by its place there.
    Planned(usize),
    /// Faults stop.
    Calm,
    /// Operators look after what faults have left.
    Mend,
    /// The oldest message on a connection reaches its end.
    Arrival { connection: usize, at: Side },
    /// A report that reached a process of the coordinator reaches it once more.
    Again { epoch: u64, connection: usize, process: u64, number: u64, report: Box<Report> },
    /// One end of a connection notices that it is broken.
    Break { connection: usize, at: Side },
    /// A worker's process set itself a timer.
    Worker { worker: usize, process: u64, wake: Wake },
    /// A worker's process starts.
    StartWorker { worker: usize },
    /// The coordinator's process starts.
    StartCoordinator,
    /// A process of the coordinator set itself a timer.
    Coordinator { epoch: u64, wake: super::coordinator::Wake },
    /// A user's request reaches the coordinator.
    Request { call: usize },
    /// A user's request is answered.
    Answer { call: usize, answer: super::users::Answer },
    /// A user who has no answer asks again.
    AskAgain { call: usize, tries: u32 },
}

/// All that will happen, in order. What happens at the same moment happens in the order in which it was set.
#[derive(Debug, Default)]
pub struct Agenda {
    events: BTreeMap<(Time, u64), Event>,
    set: u64,
}

impl Agenda {
    pub fn set(&mut self, at: Time, event: Event) {
        self.set += 1;
        self.events.insert((at, self.set), event);
    }

    pub fn next(&mut self) -> Option<(Time, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
