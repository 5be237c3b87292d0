//! The kinds of fault, counted as they strike. A fault that was planned and met nothing does not count.

use std::collections::BTreeMap;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A worker's process dies with all it knows.
    WorkerCrash,
    /// A worker's process is asked to end, and hands its leases back.
    WorkerStop,
    /// A worker's process stands still for less than a lease.
    WorkerPause,
    /// A worker's process stands still for longer than a lease, and goes on.
    WorkerPausePastLease,
    /// The coordinator's process dies.
    CoordinatorCrash,
    /// It died with commands applied and not written.
    JournalTailLost,
    /// It died in the middle of writing, and half an entry is on the disk.
    JournalTailTorn,
    /// It died with commands written and not answered.
    AnswerLost,
    /// The coordinator's process stands still for longer than a lease.
    CoordinatorPause,
    /// After a restart the machine's clock shows less than before.
    ClockSetBack,
    /// A worker's clock runs faster or slower than the coordinator's.
    ClockDrift,
    /// A connection breaks.
    ConnectionReset,
    /// Nothing passes between a worker and the coordinator, either way.
    Partition,
    /// Nothing passes from a worker to the coordinator, or nothing back.
    PartitionOneWay,
    /// A link is slow.
    Delay,
    /// A report arrives twice.
    Duplicate,
    /// A report arrives once more, after later ones.
    Reorder,
    /// A user's request or its answer is lost, and the user asks again.
    RequestLost,
    /// A report comes after its lease was given to others.
    LateResult,
    /// The journal's disk is full, and nothing can be written until it is not.
    DiskFull,
    /// The engine's process ends without a word.
    EngineLost,
    /// An engine's memory does not suffice.
    OutOfMemory,
    /// A device fails.
    DeviceFailure,
    /// A disk or a network of the worker fails.
    InfrastructureFailure,
    /// An artifact's bytes in the store are not what its name says any more.
    DamagedArtifact,
    /// The job asks for what cannot work, or its data is damaged.
    UserFailure,
}

impl Fault {
    pub const ALL: [Self; 26] = [
        Self::WorkerCrash,
        Self::WorkerStop,
        Self::WorkerPause,
        Self::WorkerPausePastLease,
        Self::CoordinatorCrash,
        Self::JournalTailLost,
        Self::JournalTailTorn,
        Self::AnswerLost,
        Self::CoordinatorPause,
        Self::ClockSetBack,
        Self::ClockDrift,
        Self::ConnectionReset,
        Self::Partition,
        Self::PartitionOneWay,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::RequestLost,
        Self::LateResult,
        Self::DiskFull,
        Self::EngineLost,
        Self::OutOfMemory,
        Self::DeviceFailure,
        Self::InfrastructureFailure,
        Self::DamagedArtifact,
        Self::UserFailure,
    ];
}

/// How often each kind of fault has struck.
#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    pub fn strike(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(&fault, count)| *self.0.entry(fault).or_default() += count);
    }

    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
