//! What a cluster is tuned by, and how much it holds.

use super::Millis;

/// How a cluster judges workers and tasks. The defaults are the project's; tests choose others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a lease lasts after the worker was last heard of, in milliseconds. Seven heartbeats of 2 s, so that a
    /// few lost ones cost nothing, and still soon enough that a lost worker costs little.
    pub lease_ms: Millis,
    /// How often a task is granted again after its memory did not suffice. A neighbor may have had it the first time.
    pub memory_restarts_max: u32,
    /// How often a task is granted again after its engine was lost. What fails six times fails for a reason of its own.
    pub restarts_max: u32,
    /// How often a task is granted again after what is not its fault: machines come and go.
    pub losses_max: u32,
    /// On how many workers a task fails, with its data or the device, until the fault is taken to be its own.
    pub workers_max: u32,
    /// After how many device failures without a finished task in between a worker is set aside. Once may be the task,
    /// twice a chance.
    pub device_faults_max: u32,
    /// The pause after a task's first failure, in milliseconds; it doubles with each.
    pub pause_ms: Millis,
    /// The longest pause, in milliseconds.
    pub pause_max_ms: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ms: 15_000,
            memory_restarts_max: 2,
            restarts_max: 5,
            losses_max: 50,
            workers_max: 3,
            device_faults_max: 3,
            pause_ms: 1_000,
            pause_max_ms: 60_000,
        }
    }
}

/// Jobs that a cluster remembers, ended ones included: a year of one an hour.
pub const JOBS_MAX: usize = 10_000;

/// Runs of all jobs together. A run costs about 2 KB, so that these fit in half a gigabyte.
pub const RUNS_TOTAL_MAX: usize = 250_000;

/// Workers that a cluster knows, those that left included. Of more than this, the one gone longest is forgotten.
pub const WORKERS_MAX: usize = 16_384;

/// How much more than another a namespace can get.
pub const WEIGHT_MAX: u32 = 1_000;

/// Namespaces that a cluster knows: teams and people, not jobs.
pub const NAMESPACES_MAX: usize = 1_024;

/// Slots of one worker: GPUs of a host, or shares of its cores.
pub const SLOTS_MAX: usize = 256;

/// Bytes of a worker's name or of an idempotency key: both are kept.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes of a failure's message that are kept: enough for a reason, too little for a whole log.
pub const MESSAGE_BYTES_MAX: usize = 4_096;

/// Checkpoints of a run that are remembered. A pack that lost its worker between two commits needs the last two;
/// what is forgotten is garbage in the store.
pub const CHECKPOINTS_PER_RUN: usize = 8;
