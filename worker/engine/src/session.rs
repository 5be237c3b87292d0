//! What an engine keeps from one task to the next, and what tasks are.

use std::path::PathBuf;

use ensemble::job::Job;
use ensemble::run::Run;
use tch::Device;

use crate::data::DataCache;

/// A warm engine.
#[derive(Debug)]
pub struct Session {
    /// Where it computes.
    pub device: Device,
    /// Data sets decoded so far.
    pub data: DataCache,
}

impl Session {
    /// A cold one.
    pub fn new(device: Device) -> Self {
        Self { device, data: DataCache::new(device) }
    }
}

/// Train a pack of runs.
#[derive(Debug, Clone)]
pub struct TrainTask {
    /// The job that the runs belong to.
    pub job: Job,
    /// The runs, each with the checkpoint that it goes on from.
    pub runs: Vec<(Run, Option<PathBuf>)>,
    /// The folder for everything that the task writes.
    pub scratch: PathBuf,
}

/// Do something with one model.
#[derive(Debug, Clone)]
pub struct ModelTask {
    /// The job that it belongs to.
    pub job: Job,
    /// The run that it comes from.
    pub run: Run,
    /// Its file.
    pub model: PathBuf,
    /// The folder for everything that the task writes.
    pub scratch: PathBuf,
}
