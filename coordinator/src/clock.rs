//! The coordinator's clock: wall time at the start, and from there on steady.

use ensemble::cluster::Millis;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Gives each command its time. It shows wall time, but runs by the machine's steady clock: were the wall clock set forward,
/// all workers would seem to have been silent for a lease, and were it set back, the journal's times would not rise.
#[derive(Debug)]
pub struct Clock {
    origin: Millis,
    started: Instant,
}

impl Clock {
    /// A clock that shows wall time now, and never less than `last`, the newest time in the journal.
    pub fn not_before(last: Millis) -> Self {
        Self { origin: last.max(wall_time()), started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Millis {
        self.origin + self.started.elapsed().as_millis() as Millis
    }
}

/// Milliseconds since the Unix epoch as the machine has it; 0 for a machine that believes to live before it.
pub fn wall_time() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}
