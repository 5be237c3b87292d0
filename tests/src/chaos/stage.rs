//! Where chaos happens: the fleet, the jobs that go on, and what was seen.

use super::fault::Fault;
use super::fleet::{Fleet, Host, Keeping};
use super::jobs::{Kind, Order, Outcome, is_done, kept_models};
use super::log::Mark;
use super::observer::Training;
use super::tally::Tally;
use super::wait::{patiently, wait_until, within};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Jobs at once. Enough that every slot has work while one of them evaluates.
const JOBS_AT_ONCE: usize = 2;
/// The budget of restarts of a task is five; what we do to engines must not use it up.
const ENGINE_FAULTS_PER_JOB: usize = 4;

/// Within this time a training tells how far it is, and on a machine that is busy with other things within that.
const PROGRESS_WITHIN: Duration = Duration::from_millis(600);
const SLOW_PROGRESS_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked at what goes on. Each look costs the coordinator a few requests.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Everything that faults can reach.
pub struct Stage {
    pub fleet: Fleet,
    pub random: fastrand::Rng,
    pub tally: Tally,
    data: PathBuf,
    baseline: BTreeMap<Kind, Outcome>,
    /// All jobs ever submitted, and those that are not done.
    submitted: BTreeSet<String>,
    running: Vec<Order>,
    engine_faults: BTreeMap<String, usize>,
    /// What is being inflicted, and what must become of the runs that it and earlier ones hit.
    fault: Option<Fault>,
    expected: Vec<(Fault, Expected)>,
    /// Where the workers' logs were when the fault began.
    marks: BTreeMap<String, Mark>,
    /// Artifacts that were damaged in the store.
    pub damaged: BTreeSet<String>,
}

/// What must become of a run that was hit.
#[derive(Clone, Debug)]
pub struct Expected {
    pub training: Training,
    pub since: Instant,
    /// Whether another attempt begins; else the same one goes on.
    pub anew: bool,
    /// Where its worker's log was when the fault began.
    mark: Mark,
}

impl Expected {
    /// That a run is granted anew and trained on.
    pub fn anew(training: Training) -> Self {
        Self { training, since: Instant::now(), anew: true, mark: Mark::START }
    }

    /// That a run goes on under the lease that it has.
    pub fn kept(training: Training) -> Self {
        Self { training, since: Instant::now(), anew: false, mark: Mark::START }
    }
}

impl Stage {
    /// Starts the fleet, and runs each kind of job undisturbed.
    pub fn set(folder: &Path, keeping: Keeping, seed: u64) -> Self {
        let data = folder.join("data");
        std::fs::create_dir(&data).unwrap();
        crate::cut_fashion_mnist(&data);
        let mut stage = Self {
            fleet: Fleet::start(folder, keeping),
            random: fastrand::Rng::with_seed(seed),
            tally: Tally::default(),
            data,
            baseline: BTreeMap::new(),
            submitted: BTreeSet::new(),
            running: Vec::new(),
            engine_faults: BTreeMap::new(),
            fault: None,
            expected: Vec::new(),
            marks: BTreeMap::new(),
            damaged: BTreeSet::new(),
        };
        stage.run_baseline();
        stage
    }

    fn run_baseline(&mut self) {
        Kind::ALL.into_iter().for_each(|kind| self.submit(kind));
        for Order { kind, job, .. } in std::mem::take(&mut self.running) {
            wait_until(&format!("{job} is done undisturbed"), || {
                is_done(self.fleet.observer.status(&job).job.as_ref().unwrap())
            });
            let outcome = Outcome::of(&self.fleet.observer, &job);
            assert!(outcome.artifacts.values().all(|digest| digest.len() == 64), "{outcome:?}");
            self.baseline.insert(kind, outcome);
        }
    }

    fn submit(&mut self, kind: Kind) {
        let order = Order::submit(&self.fleet.observer, kind, &self.data, self.submitted.len());
        assert!(self.submitted.insert(order.job.clone()), "{} is two jobs", order.job);
        self.running.push(order);
    }

    /// Inflicts a fault and writes down what came of it.
    pub fn inflict(&mut self, fault: Fault) {
        // What becomes of a run that was to go on is the doing of the fault that hit it, and not of the next.
        wait_until("what was to go on has done so", || {
            self.see_what_was_expected();
            self.expected.iter().all(|(_, expected)| expected.anew)
        });
        self.fault = Some(fault);
        let workers = self.fleet.workers.iter().map(|host| &host.process);
        self.marks = workers.map(|worker| (worker.name.clone(), worker.log.mark())).collect();
        let hits = fault.inflict(self);
        assert!(hits > 0, "{fault:?} did not fire");
        self.tally.note(fault, hits);
        self.fleet.restart_what_is_down();
    }

    /// Notes what must become of runs that are being hit.
    pub fn expect(&mut self, expected: impl IntoIterator<Item = Expected>) {
        let fault = self.fault.expect("only faults expect something");
        for expected in expected {
            let mark = self.marks[&expected.training.worker];
            self.expected.push((fault, Expected { mark, ..expected }));
        }
    }

    /// Lets some time pass in which what is down stays so.
    pub fn look_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.see_what_was_expected();
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets some time pass, in which jobs end and new ones begin.
    pub fn breathe(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look_around();
            while self.running.len() < JOBS_AT_ONCE {
                self.submit(Kind::ALL[self.submitted.len() % Kind::ALL.len()]);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until every job is done, and every run that was hit has come back.
    pub fn finish(&mut self) {
        wait_until("every job is done", || {
            self.look_around();
            self.running.is_empty()
        });
        self.see_what_was_expected();
        assert!(self.expected.is_empty(), "never came back: {:?}", self.expected);
        let known: BTreeSet<_> = self.fleet.observer.jobs().into_iter().map(|job| job.id).collect();
        assert_eq!(known, self.submitted, "no acknowledged job is lost, and none is two jobs");
        self.check_store();
    }

    /// Nothing in the store is other than its name says, but for what was damaged on purpose and is of no use any more; and
    /// all that jobs have left behind is there, whatever was collected.
    fn check_store(&mut self) {
        let artifacts = files(&self.fleet.artifacts()).into_iter().filter(|(name, _)| name.len() == 64);
        let artifacts: BTreeMap<_, _> = artifacts.filter(|(name, _)| !self.damaged.contains(name)).collect();
        for job in &self.submitted {
            for (what, digest) in kept_models(&self.fleet.observer, job) {
                assert!(artifacts.contains_key(&digest), "{what} of {job} was collected: {digest}");
            }
        }
        for (name, path) in &artifacts {
            let found = Sha256::digest(std::fs::read(path).unwrap());
            let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, *name, "{} is damaged", path.display());
        }
        self.tally.figure("artifacts in the store at the end, all sound", artifacts.len() as f64);
    }

    /// Compares jobs that are done with the baseline, and sees what became of runs that were hit.
    fn look_around(&mut self) {
        self.fleet.restart_what_is_down();
        self.see_what_was_expected();
        let jobs = self.fleet.observer.jobs();
        for order in std::mem::take(&mut self.running) {
            let job = jobs.iter().find(|job| job.id == order.job).unwrap_or_else(|| panic!("{} is lost", order.job));
            if is_done(job) {
                let outcome = Outcome::of(&self.fleet.observer, &order.job);
                assert_eq!(outcome, self.baseline[&order.kind], "{} did not end as it does undisturbed", order.job);
                self.tally.jobs += 1;
            } else {
                self.running.push(order);
            }
        }
    }

    fn see_what_was_expected(&mut self) {
        for (fault, expected) in std::mem::take(&mut self.expected) {
            match self.fate(&expected) {
                Fate::Open => self.expected.push((fault, expected)),
                fate => self.tally.note_fate(fault, expected.anew, fate, expected.since.elapsed()),
            }
        }
    }

    /// Whether a run has ended in the attempt that was seen.
    pub fn was_done_already(&self, was: &Training) -> bool {
        let runs = self.fleet.observer.status(&was.job).runs;
        runs.iter().any(|run| run.run == was.run && run.attempt == was.attempt && run.state == "done")
    }

    fn fate(&self, expected: &Expected) -> Fate {
        let was = &expected.training;
        let status = self.fleet.observer.status(&was.job);
        let run = status.runs.iter().find(|run| run.run == was.run).unwrap();
        let moved = run.progress.is_some_and(|progress| progress.step != was.step);
        match (run.state.as_str(), run.attempt > was.attempt, moved) {
            ("done", false, _) | ("training", false, true) => Fate::Kept,
            ("done", true, _) | ("training", true, true) if self.was_handed_back(expected) => Fate::HandedBack,
            ("done", true, _) | ("training", true, true) => Fate::Anew,
            _ => Fate::Open,
        }
    }

    /// Whether a run that would have gone on made way for a more urgent job.
    fn was_handed_back(&self, Expected { training, anew, mark, .. }: &Expected) -> bool {
        let worker = self.fleet.workers.iter().find(|host| host.process.name == training.worker).unwrap();
        let task = format!("{}/train/", training.job);
        !anew && worker.process.log.count(*mark, &["task handed back", &task]) > 0
    }

    /// A run that is being trained, any of them.
    pub fn training(&mut self) -> Training {
        let found = within(Duration::from_secs(60), || {
            let jobs: Vec<_> = self.running.iter().map(|order| order.job.clone()).collect();
            let mut all: Vec<_> = jobs.iter().flat_map(|job| self.fleet.observer.trainings(job)).collect();
            self.random.shuffle(&mut all);
            if all.is_empty() {
                self.breathe(Duration::from_millis(50));
            }
            all.pop()
        });
        found.unwrap_or_else(|| panic!("nothing is trained, though there is work:\n{}", self.fleet.logs()))
    }

    /// Stops a worker that is training, in the middle of it.
    pub fn frozen_trainer(&mut self) -> Training {
        patiently("a worker can be stopped in the middle of a training", || {
            let training = self.training();
            self.host(&training).process.freeze();
            // What it has said by now is heard by now: an answer needs one round of the coordinator's driver.
            let still = self.trains_still(&training);
            if still.is_none() {
                self.host(&training).process.thaw();
            }
            still
        })
    }

    /// The same training as it is now, unless it has ended or moved.
    fn trains_still(&self, was: &Training) -> Option<Training> {
        let mut now = self.fleet.observer.trainings(&was.job).into_iter();
        now.find(|now| now.run == was.run && now.worker == was.worker && now.attempt == was.attempt)
    }

    /// A training whose task may still lose its engine.
    pub fn training_to_spare(&mut self) -> Training {
        patiently("there is a training that may lose its engine", || {
            let training = self.training_at_work();
            let faults = self.engine_faults.entry(training.job.clone()).or_default();
            if *faults < ENGINE_FAULTS_PER_JOB {
                *faults += 1;
                return Some(training);
            }
            self.breathe(Duration::from_millis(200));
            None
        })
    }

    /// A run whose engine trains: it does not load libtorch to begin.
    pub fn training_at_work(&mut self) -> Training {
        patiently("a training gets further", || {
            let mut all = self.at_work();
            self.random.shuffle(&mut all);
            all.pop()
        })
    }

    /// All that is being trained, as was seen by its progress: neither an engine nor a connection is broken there.
    pub fn at_work(&mut self) -> Vec<Training> {
        let going_on = within(SLOW_PROGRESS_WITHIN, || {
            let before = self.trainings();
            self.breathe(PROGRESS_WITHIN);
            let goes_on = |now: &Training| {
                let same = |was: &&Training| was.job == now.job && was.run == now.run && was.attempt == now.attempt;
                before.iter().find(same).is_some_and(|was| was.step < now.step)
            };
            let going_on: Vec<_> = self.trainings().into_iter().filter(goes_on).collect();
            (!going_on.is_empty()).then_some(going_on)
        });
        going_on.unwrap_or_default()
    }

    /// All that is being trained.
    pub fn trainings(&self) -> Vec<Training> {
        self.running.iter().flat_map(|order| self.fleet.observer.trainings(&order.job)).collect()
    }

    /// Who trains.
    pub fn host(&mut self, training: &Training) -> &mut Host {
        self.fleet.host(&training.worker)
    }

    /// Any worker.
    pub fn any_host(&mut self) -> &mut Host {
        let index = self.random.usize(..self.fleet.workers.len());
        &mut self.fleet.workers[index]
    }
}

/// All files below a folder, by name.
pub fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let of = |entry: std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![(entry.file_name().to_string_lossy().into_owned(), path)],
    };
    entries.flat_map(of).collect()
}

/// What has become of a run that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not known yet.
    Open,
    /// The attempt went on, or had just ended.
    Kept,
    /// Another attempt goes on, or has ended.
    Anew,
    /// Another attempt goes on because this one was handed back in order, which has nothing to do with the fault.
    HandedBack,
}
