//! Chaos with real processes: a coordinator and three workers train real networks on real data, are disturbed in every way
//! that we know, and must end with the same bits as undisturbed.
//!
//! A [`Stage`] is set, which runs each kind of job once, undisturbed. Then [`Fault`]s are inflicted, one after the other,
//! while jobs of the same kinds go on and new ones are submitted. Each fault says how often it has really fired; one that
//! has not is a failure of the test. In the end all jobs are done, each with the digests and the report of the first of
//! its kind, and the [`Tally`] says what was survived.

mod bucket;
mod database;
mod disk;
mod disks;
mod fault;
mod fleet;
mod jobs;
mod libfiu;
mod log;
mod network;
mod observer;
mod process;
mod processes;
mod stage;
mod takeover;
mod tally;
mod wait;

pub use fault::Fault;
pub use fleet::Keeping;
pub use takeover::{Blow, Takeovers, takeovers};
pub use tally::Tally;

use stage::Stage;
use std::time::{Duration, Instant};

/// Between two faults.
const PAUSE: std::ops::Range<u64> = 200..1500;

/// How much chaos there is.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// Every kind of fault so many times, in an order that the seed gives.
    Rounds(usize),
    /// As many faults as fit into this time.
    Time(Duration),
}

/// Inflicts faults on a fleet that works, and panics unless everything is as it must be.
pub fn chaos(keeping: Keeping, seed: u64, amount: Amount) -> Tally {
    let folder = tempfile::Builder::new().prefix("tutti-chaos").tempdir().unwrap();
    let mut stage = Stage::set(folder.path(), keeping, seed);
    let begin = Instant::now();
    let mut round = 0;
    while !is_enough(amount, round, begin) {
        one_round(&mut stage, amount, begin);
        round += 1;
    }
    stage.finish();
    let Stage { fleet, mut tally, .. } = stage;
    tally.deserted = fleet.deserted();
    tally.refusals = fleet.refusals().into();
    fleet.stop();
    tally
}

fn is_enough(amount: Amount, rounds: usize, begin: Instant) -> bool {
    match amount {
        Amount::Rounds(wanted) => rounds >= wanted,
        Amount::Time(time) => begin.elapsed() >= time,
    }
}

/// Every possible fault once, in some order.
fn one_round(stage: &mut Stage, amount: Amount, begin: Instant) {
    let mut faults: Vec<_> = Fault::ALL.into_iter().filter(|fault| fault.is_possible(stage)).collect();
    stage.random.shuffle(&mut faults);
    for fault in faults {
        if matches!(amount, Amount::Time(time) if begin.elapsed() >= time) {
            return;
        }
        let pause = stage.random.u64(PAUSE);
        stage.breathe(Duration::from_millis(pause));
        eprintln!("{:7.1} s  {fault:?}", begin.elapsed().as_secs_f64());
        stage.inflict(fault);
    }
}
