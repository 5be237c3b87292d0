//! Self-fencing: a worker that does not hear that its leases were renewed stops its tasks before others get them.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The part of a lease after which the worker lets go of it. The rest is the margin for stopping.
const PART_OF_LEASE: f64 = 0.8;
/// More heartbeats than this are never on their way at once: the fence falls long before.
const HEARTBEATS_ON_THE_WAY_MAX: usize = 1024;

/// Knows until when the leases of this worker are surely still its own.
#[derive(Debug)]
pub struct Fence {
    patience: Duration,
    /// When each heartbeat that has no answer yet was sent, oldest first. A lease counts from the arrival of a heartbeat,
    /// which is not before this.
    on_the_way: VecDeque<Instant>,
    sure_since: Instant,
}

impl Fence {
    /// A fence around leases of length `lease`, the first of which are granted from `now` on.
    pub fn new(now: Instant, lease: Duration) -> Self {
        Self { patience: lease.mul_f64(PART_OF_LEASE), on_the_way: VecDeque::new(), sure_since: now }
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

    /// When tasks must stop, unless another answer comes.
    pub fn falls(&self) -> Instant {
        self.sure_since + self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_heartbeat_and_not_from_its_answer() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut fence = Fence::new(start, 10 * second);
        assert_eq!(fence.falls(), start + 8 * second);

        fence.sent(start + 2 * second);
        fence.sent(start + 4 * second);
        assert_eq!(fence.falls(), start + 8 * second, "an unanswered heartbeat renews nothing");

        fence.renewed();
        assert_eq!(fence.falls(), start + 10 * second);
        fence.renewed();
        fence.renewed();
        assert_eq!(fence.falls(), start + 12 * second, "an answer to nothing renews nothing");
    }
}
