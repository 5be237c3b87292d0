//! What befalls the hosts, drawn from a seed.

use super::world::WORKERS;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use turmoil::Sim;

/// Faults come until then; what they have done is healed when its time is over.
pub const CLEARS_UP_AFTER: Duration = Duration::from_secs(120);
/// The time between two faults.
const PAUSE_MS: Range<u64> = 500..6_000;
/// How long a fault lasts: shorter than a heartbeat, and longer than a lease.
const LASTS_MS: Range<u64> = 100..25_000;

/// What can befall a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing passes between a worker and the coordinator, and what was on its way is lost.
    Partition,
    /// Nothing passes from the worker to the coordinator.
    Unheard,
    /// Nothing passes from the coordinator to the worker.
    Deaf,
    /// What is sent arrives late, all at once.
    Delay,
    /// The worker's process dies and starts again.
    WorkerCrash,
    /// The coordinator's process dies and starts again.
    CoordinatorCrash,
}

/// All faults.
pub const FAULTS: [Fault; 6] =
    [Fault::Partition, Fault::Unheard, Fault::Deaf, Fault::Delay, Fault::WorkerCrash, Fault::CoordinatorCrash];

/// The weather over one simulation.
pub struct Weather {
    random: fastrand::Rng,
    /// When the next fault comes; never in fair weather.
    next: Option<Duration>,
    /// What each host suffers from, and until when.
    suffering: BTreeMap<&'static str, (Fault, Duration)>,
    /// How often each fault came.
    pub counts: BTreeMap<Fault, usize>,
}

impl Weather {
    /// Weather without faults.
    pub fn fair() -> Self {
        Self { random: fastrand::Rng::new(), next: None, suffering: BTreeMap::new(), counts: BTreeMap::new() }
    }

    /// Faults drawn from a seed.
    pub fn foul(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), next: Some(Duration::ZERO), ..Self::fair() }
    }

    /// Lets happen what is due.
    pub fn blow(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        let over: Vec<_> = self.suffering.iter().filter(|(_, (_, end))| *end <= now).map(|(host, _)| *host).collect();
        for host in over {
            let (fault, _) = self.suffering.remove(host).expect("it was just seen");
            fault.heal(host, sim);
        }
        if self.next.is_some_and(|next| next <= now) && now < CLEARS_UP_AFTER {
            self.next = Some(now + self.duration(PAUSE_MS));
            self.strike(now, sim);
        }
    }

    /// A host that suffers already is spared another fault.
    fn strike(&mut self, now: Duration, sim: &mut Sim<'_>) {
        let fault = FAULTS[self.random.usize(..FAULTS.len())];
        let worker = WORKERS[self.random.usize(..WORKERS.len())];
        let host = if fault == Fault::CoordinatorCrash { "coordinator" } else { worker };
        if !self.suffering.contains_key(host) {
            fault.strike(host, sim);
            let end = now + self.duration(LASTS_MS);
            self.suffering.insert(host, (fault, end));
            *self.counts.entry(fault).or_default() += 1;
        }
    }

    fn duration(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }
}

impl Fault {
    fn strike(self, host: &str, sim: &mut Sim<'_>) {
        match self {
            Self::Partition => sim.partition(host, "coordinator"),
            Self::Unheard => sim.partition_oneway(host, "coordinator"),
            Self::Deaf => sim.partition_oneway("coordinator", host),
            Self::Delay => sim.hold(host, "coordinator"),
            Self::WorkerCrash | Self::CoordinatorCrash => sim.crash(host),
        }
    }

    fn heal(self, host: &str, sim: &mut Sim<'_>) {
        match self {
            Self::Partition => sim.repair(host, "coordinator"),
            Self::Unheard => sim.repair_oneway(host, "coordinator"),
            Self::Deaf => sim.repair_oneway("coordinator", host),
            Self::Delay => sim.release(host, "coordinator"),
            Self::WorkerCrash | Self::CoordinatorCrash => sim.bounce(host),
        }
    }
}
