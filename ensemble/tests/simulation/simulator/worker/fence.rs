//! Self-fencing: until when the leases of a worker are surely still its own, by its own clock.

use super::Time;
use std::collections::VecDeque;

/// The part of a lease after which a worker lets go of it, in percent.
const PART_OF_LEASE: Time = 80;

/// Counts from the sending of the newest heartbeat that was answered. All moments are on the worker's own clock.
#[derive(Debug)]
pub struct Fence {
    lease_ms: Time,
    on_the_way: VecDeque<Time>,
    sure_since: Time,
    pub fallen: bool,
}

impl Fence {
    /// The fence of a process that has had no session yet.
    pub fn fallen() -> Self {
        Self { lease_ms: 0, on_the_way: VecDeque::new(), sure_since: 0, fallen: true }
    }

    /// A session has begun whose leases count from when it was asked for.
    pub fn raise(&mut self, asked: Time, lease_ms: Time) {
        *self = Self { lease_ms, on_the_way: VecDeque::new(), sure_since: asked, fallen: false };
    }

    /// Heartbeats of a session that is over are not answered any more.
    pub fn forget(&mut self) {
        self.on_the_way.clear();
    }

    pub fn sent(&mut self, now: Time) {
        self.on_the_way.push_back(now);
    }

    pub fn renewed(&mut self) {
        if let Some(sent) = self.on_the_way.pop_front() {
            self.sure_since = sent;
        }
    }

    pub fn falls(&self) -> Time {
        self.sure_since + self.lease_ms * PART_OF_LEASE / 100
    }
}
