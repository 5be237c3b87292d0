//! Waiting for what comes back: a store out of reach, a disk without room, an artifact that is made again.

use artifacts::StoreError;
use ensemble::id::Digest;
use std::time::Duration;
use tokio::time::sleep;

/// The first pause. Each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// No pause is longer: what has come back is noticed within it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What makes a failure go away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Waiting: the place that failed may come back.
    Waiting,
    /// Making an artifact again, which is not in the store as its name says.
    Remaking(Digest),
    /// Nothing.
    None,
}

/// A failure that knows its cure.
pub trait Curable: std::error::Error {
    /// What makes it go away.
    fn cure(&self) -> Cure;
}

impl Curable for StoreError {
    fn cure(&self) -> Cure {
        match self.lost() {
            Some(digest) => Cure::Remaking(digest.clone()),
            None if self.is_passing() => Cure::Waiting,
            None => Cure::None,
        }
    }
}

/// Pauses between attempts, longer and longer. There is no limit to their number: whoever waits says so, and what it waits
/// for comes back or is given up by somebody.
#[derive(Debug)]
pub struct Patience {
    pause: Duration,
}

impl Patience {
    /// Waits until the next attempt is due.
    pub async fn pause(&mut self) {
        sleep(self.next()).await;
    }

    fn next(&mut self) -> Duration {
        let longer = (2 * self.pause).min(PAUSE_MAX);
        std::mem::replace(&mut self.pause, longer)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: PAUSE_MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut patience = Patience::default();
        let pauses: Vec<_> = (0..10).map(|_| patience.next().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }
}
