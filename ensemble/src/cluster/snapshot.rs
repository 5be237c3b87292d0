//! The whole state as a value that can be written down, so that not every command has to be replayed.
//!
//! In JSON it is a map of maps. A reader skips what it does not know and takes defaults for what is not there, so a later
//! version reads what an earlier one wrote.

use super::job::JobState;
use super::preemption::Preemptible;
use super::queue::Queue;
use super::workers::Workers;
use super::{Cluster, Settings};
use crate::id::Digest;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

impl Cluster {
    /// The whole state but for the settings. What can be found again from the rest is left out.
    pub fn snapshot(&self) -> impl Serialize + '_ {
        let Self { settings: _, jobs, numbers: _, keys, runs, workers, queue, preemptible, grants, pins } = self;
        State {
            jobs: Cow::Borrowed(jobs),
            keys: Cow::Borrowed(keys),
            runs: *runs,
            workers: Cow::Borrowed(workers),
            queue: Cow::Borrowed(queue),
            preemptible: Cow::Borrowed(preemptible),
            grants: *grants,
            pins: Cow::Borrowed(pins),
        }
    }

    /// The cluster whose [`Cluster::snapshot`] this is, judging by these settings from now on.
    ///
    /// # Errors
    /// What the deserializer says about text that is no snapshot.
    pub fn restore<'de, D: Deserializer<'de>>(settings: Settings, snapshot: D) -> Result<Self, D::Error> {
        let State { jobs, keys, runs, workers, queue, preemptible, grants, pins } = State::deserialize(snapshot)?;
        let mut jobs = jobs.into_owned();
        jobs.iter_mut().for_each(JobState::index_models);
        let number = |(number, job): (usize, &JobState)| (job.id.clone(), number as u32);
        Ok(Self {
            settings,
            numbers: jobs.iter().enumerate().map(number).collect(),
            jobs,
            keys: keys.into_owned(),
            runs,
            workers: workers.into_owned(),
            queue: queue.into_owned(),
            preemptible: preemptible.into_owned(),
            grants,
            pins: pins.into_owned(),
        })
    }
}

/// What is written down.
#[derive(Serialize, Deserialize)]
struct State<'a> {
    jobs: Cow<'a, [JobState]>,
    keys: Cow<'a, BTreeMap<String, u32>>,
    runs: usize,
    workers: Cow<'a, Workers>,
    queue: Cow<'a, Queue>,
    preemptible: Cow<'a, Preemptible>,
    grants: u64,
    #[serde(default)]
    pins: Cow<'a, BTreeSet<Digest>>,
}
