//! The coordinator's clock: wall time that never goes back.

use ensemble::cluster::Millis;
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives each command its time. The journal's order and its times agree, even where the machine's clock is set back:
/// time then stands still until the clock has caught up.
#[derive(Debug, Default)]
pub struct Clock {
    last: Millis,
}

impl Clock {
    /// A clock that never shows less than `last`, the newest time in the journal.
    pub fn not_before(last: Millis) -> Self {
        Self { last }
    }

    /// Now.
    pub fn now(&mut self) -> Millis {
        self.last = self.last.max(wall_time());
        self.last
    }
}

/// Milliseconds since the Unix epoch as the machine has it; 0 for a machine that believes to live before it.
pub fn wall_time() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}
