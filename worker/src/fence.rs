//! Self-fencing: a worker that does not hear that its leases were renewed falls silent before others may get them, and
//! gives its tasks up when it hears nothing for long.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The part of a lease after which the worker says and stores nothing more under it. The rest is the margin for what is
/// on its way.
const PART_OF_LEASE: f64 = 0.8;
/// More heartbeats than this are never on their way at once: the fence falls long before.
const HEARTBEATS_ON_THE_WAY_MAX: usize = 1024;

/// Knows until when the leases of this worker are surely still its own.
#[derive(Debug)]
pub struct Fence {
    /// How long without contact the engines compute on for nobody else.
    away_limit: Duration,
    patience: Duration,
    /// When each heartbeat that has no answer yet was sent, oldest first. A lease counts from the arrival of a heartbeat,
    /// which is not before this.
    on_the_way: VecDeque<Instant>,
    sure_since: Instant,
    standing: Standing,
}

/// What comes when nothing is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Somebody else may get the leases from soon on: nothing more may be said or stored under them.
    Silence,
    /// It is unlikely by now that the leases come back.
    GivingUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Sure,
    Silent,
    /// There are no leases to lose.
    Free,
}

impl Fence {
    /// A fence around nothing yet.
    pub fn new(now: Instant, away_limit: Duration) -> Self {
        let (patience, on_the_way) = (Duration::ZERO, VecDeque::new());
        Self { away_limit, patience, on_the_way, sure_since: now, standing: Standing::Free }
    }

    /// A session has begun, whose first message was sent at `sent`: all leases, of length `lease`, count from there.
    pub fn raise(&mut self, sent: Instant, lease: Duration) {
        self.patience = lease.mul_f64(PART_OF_LEASE);
        self.on_the_way.clear();
        self.sure_since = sent;
        self.standing = Standing::Sure;
    }

    /// A heartbeat is being sent.
    pub fn sent(&mut self, now: Instant) {
        if self.on_the_way.len() < HEARTBEATS_ON_THE_WAY_MAX {
            self.on_the_way.push_back(now);
        }
    }

    /// The oldest heartbeat without an answer has got its answer.
    pub fn renewed(&mut self) {
        if let Some(sent) = self.on_the_way.pop_front() {
            self.sure_since = sent;
        }
    }

    /// When it is no longer sure whose the leases are, unless something is heard.
    pub fn falls(&self) -> Instant {
        self.sure_since + self.patience
    }

    /// Whether the leases are surely still this worker's.
    pub fn stands(&self) -> bool {
        self.standing == Standing::Sure
    }

    /// Waits for what comes next unless something is heard. Never comes when there is nothing to lose.
    pub async fn due(&self) -> Due {
        let Some((when, due)) = self.next() else { return std::future::pending().await };
        sleep_until(when).await;
        due
    }

    fn next(&self) -> Option<(Instant, Due)> {
        match self.standing {
            Standing::Sure => Some((self.falls(), Due::Silence)),
            Standing::Silent => Some((self.falls().max(self.sure_since + self.away_limit), Due::GivingUp)),
            Standing::Free => None,
        }
    }

    /// What was due has been done.
    pub fn done(&mut self, due: Due) {
        self.standing = match due {
            Due::Silence => Standing::Silent,
            Due::GivingUp => Standing::Free,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn raised(start: Instant) -> Fence {
        let mut fence = Fence::new(start, 60 * SECOND);
        assert_eq!(fence.next(), None, "nothing to lose");
        fence.raise(start, 10 * SECOND);
        fence
    }

    #[test]
    fn a_lease_counts_from_the_heartbeat_and_not_from_its_answer() {
        let start = Instant::now();
        let mut fence = raised(start);
        let silence =
            |fence: &Fence, seconds: u32| assert_eq!(fence.next(), Some((start + seconds * SECOND, Due::Silence)));
        silence(&fence, 8);

        fence.sent(start + 2 * SECOND);
        fence.sent(start + 4 * SECOND);
        // An unanswered heartbeat renews nothing.
        silence(&fence, 8);
        fence.renewed();
        silence(&fence, 10);
        fence.renewed();
        // An answer to nothing renews nothing.
        fence.renewed();
        silence(&fence, 12);
    }

    #[test]
    fn silence_comes_before_giving_up_and_a_session_ends_both() {
        let start = Instant::now();
        let mut fence = raised(start);
        fence.done(Due::Silence);
        assert!(!fence.stands());
        assert_eq!(fence.next(), Some((start + 60 * SECOND, Due::GivingUp)));
        fence.done(Due::GivingUp);
        assert_eq!(fence.next(), None);
        fence.raise(start + 99 * SECOND, 10 * SECOND);
        assert!(fence.stands());
    }
}
