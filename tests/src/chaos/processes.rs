//! Processes that die, stop and drain.

use super::fleet::LEASE;
use super::observer::Training;
use super::process::{freeze, is_dead};
use super::stage::{Expected, Stage};
use super::wait::wait_until;
use crate::processes::{Pid, children, kill};
use std::thread::sleep;
use std::time::Instant;

/// A worker dies with its engines in the middle of a training, and is started again at once.
pub fn kill_worker(stage: &mut Stage) -> usize {
    let training = stage.frozen_trainer();
    let host = stage.host(&training);
    let engines = children(host.process.id());
    host.process.kill();
    stage.expect([Expected::anew(training)]);
    assert_gone_with_it(&engines);
    1 + engines.len()
}

/// A worker dies, and does not come back before its lease has ended.
pub fn lose_worker(stage: &mut Stage) -> usize {
    let hits = kill_worker(stage);
    stage.look_on(LEASE.mul_f64(1.2));
    hits
}

/// No process outlives its parent.
fn assert_gone_with_it(engines: &[Pid]) {
    wait_until("engines die with their worker", || engines.iter().all(|engine| is_dead(*engine)));
}

/// A worker stops until its lease has ended, and goes on as if nothing had happened. Its engine computed meanwhile.
pub fn freeze_worker(stage: &mut Stage) -> usize {
    let training = stage.frozen_trainer();
    let mark = stage.host(&training).process.log.mark();
    stage.expect([Expected::anew(training.clone())]);
    stage.look_on(LEASE.mul_f64(1.3));
    stage.host(&training).process.thaw();
    wait_until("a worker that was away learns that its lease is lost", || {
        let log = &stage.host(&training).process.log;
        let learns = log.count(mark, &["lease was not kept"]) + log.count(mark, &["lease was lost"]) > 0;
        // Its last word before it was stopped may have been that it is done, on its way for so long.
        learns || stage.was_done_already(&training)
    });
    1
}

/// A worker is asked to stop: it stores what it has and hands its leases back.
pub fn drain_worker(stage: &mut Stage) -> usize {
    let training = stage.training();
    stage.expect([Expected::anew(training.clone())]);
    let begin = Instant::now();
    stage.host(&training).process.terminate();
    stage.tally.figure("a worker's drain, s", begin.elapsed().as_secs_f64());
    1
}

/// An engine dies, as by the kernel or in C++.
pub fn kill_engine(stage: &mut Stage) -> usize {
    let training = stage.training_to_spare();
    let engines = engines(stage, &training);
    kill(&engines);
    stage.expect([Expected::anew(training)]);
    wait_until("a killed engine is gone", || engines.iter().all(|engine| is_dead(*engine)));
    engines.len()
}

/// An engine stops. The worker notices that it gets nowhere, and ends it.
pub fn freeze_engine(stage: &mut Stage) -> usize {
    let training = stage.training_to_spare();
    let engines = engines(stage, &training);
    engines.iter().for_each(|engine| freeze(*engine));
    stage.expect([Expected::anew(training)]);
    wait_until("an engine that gets nowhere is ended", || engines.iter().any(|engine| is_dead(*engine)));
    engines.len()
}

fn engines(stage: &mut Stage, training: &Training) -> Vec<Pid> {
    children(stage.host(training).process.id())
}

/// The coordinator dies, and is started again at once.
pub fn kill_coordinator(stage: &mut Stage) -> usize {
    let trainings = stage.at_work();
    stage.fleet.coordinator.kill();
    come_back(stage);
    stage.expect(trainings.into_iter().map(Expected::kept));
    1
}

/// The coordinator is asked to stop, as for an upgrade.
pub fn drain_coordinator(stage: &mut Stage) -> usize {
    let trainings = stage.at_work();
    let begin = Instant::now();
    stage.fleet.coordinator.terminate();
    stage.tally.figure("the coordinator's stop, s", begin.elapsed().as_secs_f64());
    come_back(stage);
    stage.expect(trainings.into_iter().map(Expected::kept));
    1
}

fn come_back(stage: &mut Stage) {
    stage.fleet.coordinator.start();
    stage.fleet.coordinator.await_ready();
    let back = Instant::now();
    stage.fleet.observer.await_connected(1);
    stage.tally.figure("coordinator back to first worker in session, s", back.elapsed().as_secs_f64());
    stage.fleet.observer.await_connected(stage.fleet.workers.len());
    stage.tally.figure("coordinator back to all workers in session, s", back.elapsed().as_secs_f64());
}

/// Everything dies at once, and is started again. What is not on a disk is lost.
pub fn fail_power(stage: &mut Stage) -> usize {
    let trainings = stage.trainings();
    let workers = stage.fleet.workers.iter().map(|host| host.process.id());
    let engines: Vec<_> = workers.flat_map(children).collect();
    stage.fleet.coordinator.kill();
    stage.fleet.workers.iter_mut().for_each(|host| host.process.kill());
    stage.expect(trainings.into_iter().map(Expected::anew));
    assert_gone_with_it(&engines);
    1 + stage.fleet.workers.len() + engines.len()
}

/// The coordinator stops for longer than a lease, and goes on as if nothing had happened.
pub fn freeze_coordinator(stage: &mut Stage) -> usize {
    let trainings = stage.at_work();
    stage.fleet.coordinator.freeze();
    sleep(LEASE.mul_f64(1.3));
    stage.fleet.coordinator.thaw();
    stage.expect(trainings.into_iter().map(Expected::kept));
    1
}
