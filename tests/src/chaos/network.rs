//! Connections that break, dawdle and fall silent.

use super::fleet::LEASE;
use super::stage::{Expected, Stage};
use super::wait::wait_until;
use crate::proxy::{Proxy, Weather};
use std::thread::sleep;
use std::time::Duration;

/// All connections of all workers are reset at once.
pub fn cut(stage: &mut Stage) -> usize {
    let trainings = stage.at_work();
    let hits = stage.fleet.workers.iter().map(|host| broken_by(&host.proxy, Proxy::cut)).sum();
    stage.expect(trainings.into_iter().map(Expected::kept));
    hits
}

/// The connections of a worker end on the coordinator's side only.
pub fn sever(stage: &mut Stage) -> usize {
    broken_by(&stage.any_host().proxy, Proxy::sever)
}

/// Breaks the connections there are, and counts them.
fn broken_by(proxy: &Proxy, fault: fn(&Proxy)) -> usize {
    wait_until("a worker is connected", || proxy.live() > 0);
    let before = proxy.broken();
    fault(proxy);
    wait_until("connections break", || proxy.broken() > before);
    proxy.broken() - before
}

/// A worker's messages take long, both ways, but less than a lease.
pub fn delay(stage: &mut Stage) -> usize {
    let training = stage.training();
    let delay = Duration::from_millis(stage.random.u64(100..600));
    let proxy = &stage.host(&training).proxy;
    let before = proxy.held_up();
    proxy.turn(Weather::Slow(delay));
    sleep(LEASE);
    proxy.turn(Weather::Clear);
    let hits = proxy.held_up() - before;
    stage.expect([Expected::kept(training)]);
    hits
}

/// Nothing passes for longer than a lease. Then all of it does, long after its time.
pub fn silence(stage: &mut Stage) -> usize {
    let training = stage.training();
    let proxy = &stage.host(&training).proxy;
    let before = proxy.held_up();
    proxy.turn(Weather::Still);
    stage.expect([Expected::anew(training.clone())]);
    stage.look_on(LEASE.mul_f64(1.4));
    let proxy = &stage.host(&training).proxy;
    proxy.turn(Weather::Clear);
    proxy.held_up() - before
}

/// All connections to the store are reset while somebody uses it.
pub fn cut_store(stage: &mut Stage) -> usize {
    broken_by(&stage.fleet.bucket.as_ref().unwrap().proxy, Proxy::cut)
}

/// Nothing comes to the store or from it for a while. Who waits for it must not count as lost.
pub fn silence_store(stage: &mut Stage) -> usize {
    let trainings = stage.at_work();
    let proxy = &stage.fleet.bucket.as_ref().unwrap().proxy;
    let before = proxy.held_up();
    proxy.turn(Weather::Still);
    wait_until("somebody uses the store", || proxy.held_up() > before);
    sleep(LEASE.mul_f64(1.4));
    proxy.turn(Weather::Clear);
    let hits = proxy.held_up() - before;
    stage.expect(trainings.into_iter().map(Expected::kept));
    hits
}
