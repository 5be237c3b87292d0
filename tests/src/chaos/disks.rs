//! Disks that are full, fail, and lie.

use super::log::{Log, Mark};
use super::observer::Training;
use super::stage::{Expected, Stage, files};
use super::wait::{patiently, within};
use crate::processes::children;
use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// How long a disk is full or fails.
const SPELL: Duration = Duration::from_secs(2);
/// How long it may take until somebody writes, and says that it fails.
const NOTICE_WITHIN: Duration = Duration::from_secs(30);
/// What programs say of a full disk: the system's words, and SQLite's.
const FULL: [&str; 2] = ["No space left on device", "disk is full"];
/// What they say of a failing one.
const FAILING: [&str; 2] = ["Input/output error", "disk I/O error"];

/// The disk of the journal and the artifacts is full for a while.
pub fn fill_coordinators(stage: &mut Stage) -> usize {
    let mark = stage.fleet.coordinator.log.mark();
    stage.fleet.coordinator_disk.fill();
    let noticed = is_noticed(&stage.fleet.coordinator.log, mark, FULL);
    sleep(SPELL);
    stage.fleet.coordinator_disk.free();
    usize::from(noticed)
}

/// The disk of the journal and the artifacts fails to write for a while.
pub fn fail_coordinators(stage: &mut Stage) -> usize {
    let calls = ["posix/io/rw/pwrite", "posix/io/sync/fsync"];
    let mark = stage.fleet.coordinator.log.mark();
    let (libfiu, process) = (stage.fleet.libfiu.as_ref().unwrap(), stage.fleet.coordinator.id());
    libfiu.fail(process, &calls);
    let noticed = is_noticed(&stage.fleet.coordinator.log, mark, FAILING);
    sleep(SPELL);
    libfiu.heal(process, &calls);
    usize::from(noticed)
}

/// A worker's disk is full for a while: it has no room for checkpoints, models and downloads.
pub fn fill_workers(stage: &mut Stage) -> usize {
    let training = stage.training();
    let host = stage.host(&training);
    let mark = host.process.log.mark();
    host.disk.fill();
    let noticed = is_noticed_at_work(stage, &training, mark, FULL);
    stage.host(&training).disk.free();
    usize::from(noticed)
}

/// The disk of a worker that trains fails for a while.
pub fn fail_workers(stage: &mut Stage) -> usize {
    let training = stage.training_at_work();
    let calls = ["posix/io/dir/rename"];
    let (worker, mark) = (stage.host(&training).process.id(), stage.host(&training).process.log.mark());
    let engines = children(worker);
    let libfiu = stage.fleet.libfiu.as_ref().unwrap();
    engines.iter().for_each(|engine| libfiu.fail(*engine, &calls));
    let noticed = is_noticed_at_work(stage, &training, mark, FAILING);
    let libfiu = stage.fleet.libfiu.as_ref().unwrap();
    engines.iter().for_each(|engine| libfiu.heal(*engine, &calls));
    usize::from(noticed)
}

fn is_noticed(log: &Log, mark: Mark, words: [&str; 2]) -> bool {
    within(NOTICE_WITHIN, || is_said(log, mark, words).then_some(())).is_some()
}

/// The training at which a worker was met may have been at its end: others come, to be stored.
fn is_noticed_at_work(stage: &mut Stage, training: &Training, mark: Mark, words: [&str; 2]) -> bool {
    let noticed = || {
        stage.breathe(Duration::from_millis(100));
        is_said(&stage.host(training).process.log, mark, words).then_some(())
    };
    within(NOTICE_WITHIN, noticed).is_some()
}

fn is_said(log: &Log, mark: Mark, words: [&str; 2]) -> bool {
    words.iter().any(|word| log.count(mark, &[word]) > 0)
}

/// Half of a checkpoint is lost in the store, and the worker that made it is replaced by one that has no copy.
pub fn truncate_checkpoint(stage: &mut Stage) -> usize {
    let (training, digest, file) = patiently("a run has a checkpoint", || {
        let training = stage.frozen_trainer();
        let file = newest_checkpoint(stage, &training);
        if file.is_none() {
            stage.host(&training).process.thaw();
            stage.breathe(Duration::from_millis(100));
        }
        file.map(|(digest, file)| (training, digest, file))
    });
    let whole = fs::metadata(&file).unwrap().len();
    File::options().write(true).open(&file).unwrap().set_len(whole / 2).unwrap();
    let host = stage.host(&training);
    host.process.kill();
    fs::remove_dir_all(host.disk.folder().join("data/cache")).unwrap();
    stage.expect([Expected::anew(training)]);
    stage.damaged.insert(digest);
    1
}

/// An operator has the garbage removed that jobs leave behind while they run.
pub fn collect_garbage(stage: &mut Stage) -> usize {
    patiently("there is garbage", || {
        let removed = stage.fleet.observer.collect_garbage();
        if removed == 0 {
            stage.breathe(Duration::from_millis(200));
        }
        (removed > 0).then_some(removed)
    })
}

/// The file in the store of the checkpoint that a run would go on from.
fn newest_checkpoint(stage: &Stage, training: &Training) -> Option<(String, PathBuf)> {
    let all = stage.fleet.observer.checkpoints(&training.job);
    let of_run = all.into_iter().filter(|known| known.kind == "checkpoint" && known.run == training.run);
    let newest = of_run.max_by_key(|known| known.step)?;
    files(&stage.fleet.artifacts()).into_iter().find(|(name, _)| *name == newest.digest)
}
