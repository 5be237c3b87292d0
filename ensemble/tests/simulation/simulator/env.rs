//! What all parts of the world share: time, the network, the disks, and the books that are kept of what happened.

use super::agenda::{Agenda, Event, Time};
use super::defect::Defect;
use super::disk::Disk;
use super::faults::Faults;
use super::history::History;
use super::ledger::Ledger;
use super::network::{Network, Side};
use super::random::Random;
use super::store::Store;
use super::wire::{FromWorker, ToWorker};

#[derive(Debug)]
pub struct Env {
    /// What the programs of this world do wrong.
    pub defect: Option<Defect>,
    pub now: Time,
    pub agenda: Agenda,
    pub network: Network,
    pub store: Store,
    pub disk: Disk,
    pub random: Random,
    pub faults: Faults,
    pub history: History,
    pub ledger: Ledger,
    /// Whether a process of the coordinator takes connections and moves artifacts.
    pub coordinator_listens: bool,
}

impl Env {
    pub fn send_up(&mut self, connection: usize, message: FromWorker) {
        self.network.send_up(self.now, &mut self.agenda, connection, message);
    }

    pub fn send_down(&mut self, connection: usize, message: ToWorker) {
        self.network.send_down(self.now, &mut self.agenda, connection, message);
    }

    pub fn close(&mut self, connection: usize, side: Side) {
        self.network.close(self.now, &mut self.agenda, connection, side);
    }

    pub fn set_in(&mut self, delay: Time, event: Event) {
        self.agenda.set(self.now + delay, event);
    }

    /// Writes a line of history, if anybody wants to read it.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        self.history.note(self.now, line);
    }
}
