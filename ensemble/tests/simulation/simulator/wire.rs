//! What workers and the coordinator say to each other: the messages of `workers.proto`, as far as leases need them.

use ensemble::cluster::{Command, LeaseKey, Millis, Work};

/// From a worker to the coordinator.
#[derive(Clone, Debug)]
pub enum FromWorker {
    /// First, and once.
    Hello(Hello),
    Heartbeat,
    Ready {
        slot: u32,
    },
    /// What must not be lost: numbered, and kept until it is recorded.
    Report {
        number: u64,
        report: Box<Report>,
    },
    /// The process stops, and works on nothing any more.
    Drained,
}

/// Who it is, and what it still works on.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Drawn once for each process.
    pub process: u64,
    /// For each slot, the lease that it holds.
    pub slots: Vec<Option<LeaseKey>>,
}

/// The command that a report becomes, and the lease that it is said under.
#[derive(Clone, Debug)]
pub struct Report {
    pub lease: LeaseKey,
    pub command: Command,
    /// Whether it is the last word on the task.
    pub last: bool,
}

/// From the coordinator to a worker.
#[derive(Clone, Debug)]
pub enum ToWorker {
    /// First, and once: those of the held leases that still count.
    Welcome {
        lease_ms: Millis,
        kept: Vec<LeaseKey>,
    },
    /// Answers a heartbeat.
    Renewed,
    Lease {
        slot: u32,
        lease: LeaseKey,
        work: Box<Work>,
    },
    Revoke {
        lease: LeaseKey,
    },
    Yield {
        lease: LeaseKey,
    },
    /// All reports up to this one are durable, or will never count.
    Recorded {
        number: u64,
    },
}
