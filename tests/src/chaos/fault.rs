//! The faults.

use super::stage::Stage;
use super::{disks, network, processes};

/// What can be done to a fleet. Each is a function that breaks something, sees that it is broken, and heals what does not
/// heal by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A worker dies with its engines, and is started again at once.
    KillWorker,
    /// A worker dies, and is away for longer than its lease.
    LoseWorker,
    /// A worker is stopped for longer than its lease, and goes on.
    FreezeWorker,
    /// A worker is asked to stop.
    DrainWorker,
    /// An engine dies.
    KillEngine,
    /// An engine is stopped for good.
    FreezeEngine,
    /// The coordinator dies.
    KillCoordinator,
    /// The coordinator is stopped for longer than a lease, and goes on.
    FreezeCoordinator,
    /// The coordinator is asked to stop.
    DrainCoordinator,
    /// The coordinator, all workers and all engines die at once, and are started again.
    FailPower,
    /// All connections are reset.
    CutConnections,
    /// A worker's connections are half open.
    SeverConnections,
    /// A worker's messages take long.
    DelayConnections,
    /// A worker's messages are held for longer than its lease, and come then.
    SilenceConnections,
    /// All connections to the store are reset.
    CutStore,
    /// The store says nothing for a while.
    SilenceStore,
    /// The coordinator's disk is full for a while.
    FillCoordinatorDisk,
    /// The coordinator's disk fails for a while.
    FailCoordinatorDisk,
    /// A worker's disk is full for a while.
    FillWorkerDisk,
    /// A worker's disk fails for a while.
    FailWorkerDisk,
    /// Half of a checkpoint is lost in the store.
    TruncateCheckpoint,
    /// Garbage is collected amid everything.
    CollectGarbage,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 22] = [
        Self::KillWorker,
        Self::LoseWorker,
        Self::FreezeWorker,
        Self::DrainWorker,
        Self::KillEngine,
        Self::FreezeEngine,
        Self::KillCoordinator,
        Self::FreezeCoordinator,
        Self::DrainCoordinator,
        Self::FailPower,
        Self::CutConnections,
        Self::SeverConnections,
        Self::DelayConnections,
        Self::SilenceConnections,
        Self::CutStore,
        Self::SilenceStore,
        Self::FillCoordinatorDisk,
        Self::FailCoordinatorDisk,
        Self::FillWorkerDisk,
        Self::FailWorkerDisk,
        Self::TruncateCheckpoint,
        Self::CollectGarbage,
    ];

    /// Does it, and says how many processes, connections, disks or files were really hit: if none, it has not fired.
    pub fn inflict(self, stage: &mut Stage) -> usize {
        match self {
            Self::KillWorker => processes::kill_worker(stage),
            Self::LoseWorker => processes::lose_worker(stage),
            Self::FreezeWorker => processes::freeze_worker(stage),
            Self::DrainWorker => processes::drain_worker(stage),
            Self::KillEngine => processes::kill_engine(stage),
            Self::FreezeEngine => processes::freeze_engine(stage),
            Self::KillCoordinator => processes::kill_coordinator(stage),
            Self::FreezeCoordinator => processes::freeze_coordinator(stage),
            Self::DrainCoordinator => processes::drain_coordinator(stage),
            Self::FailPower => processes::fail_power(stage),
            Self::CutConnections => network::cut(stage),
            Self::SeverConnections => network::sever(stage),
            Self::DelayConnections => network::delay(stage),
            Self::SilenceConnections => network::silence(stage),
            Self::CutStore => network::cut_store(stage),
            Self::SilenceStore => network::silence_store(stage),
            Self::FillCoordinatorDisk => disks::fill_coordinators(stage),
            Self::FailCoordinatorDisk => disks::fail_coordinators(stage),
            Self::FillWorkerDisk => disks::fill_workers(stage),
            Self::FailWorkerDisk => disks::fail_workers(stage),
            Self::TruncateCheckpoint => disks::truncate_checkpoint(stage),
            Self::CollectGarbage => disks::collect_garbage(stage),
        }
    }

    /// Whether this machine has what it takes.
    pub fn is_possible(self, stage: &Stage) -> bool {
        match self {
            Self::FillCoordinatorDisk | Self::FillWorkerDisk => stage.fleet.coordinator_disk.can_fill(),
            Self::CutStore | Self::SilenceStore => stage.fleet.bucket.is_some(),
            Self::FailCoordinatorDisk | Self::FailWorkerDisk => stage.fleet.libfiu.is_some(),
            _ => true,
        }
    }
}
