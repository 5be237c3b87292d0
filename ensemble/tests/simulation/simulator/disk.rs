//! The coordinator's machine: its disk, which outlives its processes, and its clock.

use super::agenda::Time;
use super::journal::Journal;
use ensemble::cluster::Millis;

#[derive(Debug)]
pub struct Disk {
    pub journal: Journal,
    /// Until when nothing can be written.
    pub full_until: Time,
    /// What the machine's clock shows at the beginning of the world; set back by faults.
    pub wall: Millis,
}

impl Disk {
    pub fn new() -> Self {
        Self { journal: Journal::default(), full_until: 0, wall: 1_000_000 }
    }

    /// What the machine's clock shows.
    pub fn wall_time(&self, now: Time) -> Millis {
        self.wall + now
    }
}
