//! A store that decays: artifacts vanish at random and garbage is collected at random, while jobs of every kind are at
//! work, fail, and are done.
//!
//! Goal: nothing is handed out that the collection may take; whatever vanishes, every job ends, and once nothing vanishes
//! any more, every model that a done job shows is in the store; a job at which nobody is says what it waits for. A failure
//! prints its seed; `TUTTI_SEED` runs that one, `TUTTI_SEEDS` sets how many are run.

use crate::script::{artifact, handed_out, job, named, report, restored, scores, slots};
use ensemble::cluster::{
    AverageOutcome, Cluster, Command, Effect, Failure, FailureClass, LeaseKey, Millis, ReportOutcome, Settings,
    TrainRun, Work,
};
use ensemble::expand::yields;
use ensemble::id::{Digest, JobId, WorkerId};
use ensemble::run::{Artifact, ModelKind, Samples};
use ensemble::view::{MemberState, Phase, TaskState};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const EVENTS: usize = 250;
const SLOTS: u32 = 3;
const STEPS: u64 = 400;
const BRANCH_STEP: u64 = 200;

const JOBS: [&str; 7] = [
    "train: {epochs: 4, pack: 2}\nmembers: [{seeds: {count: 3}}]\naverage: [ema, {soup: {of: seeds, force: true}}]",
    "members: [{seeds: {count: 2}}]\naverage: [{swa: {start: 0.5}}, {swa: {start: 0.5, learning_rate: 0.01}}]",
    "members: [{snapshots: {cycles: 4, keep_last: 3}}]\naverage: [{soup: {of: snapshots}}]",
    "members: [{cross_validation: {folds: 3, keep: 2}}]\naverage: [{soup: {of: members, force: true}}]",
    "train: {epochs: 4, pack: 4}\nmembers: [{cross_validation: {folds: 2, keep: 1, winners: configurations, \
     grid: {train.learning_rate.max: [0.1, 0.2]}}}]\nensemble: {min_members: 1}",
    "members: [{seeds: {count: 3}}, {snapshots: {cycles: 2}}]\naverage: [{swa: {start: 0.5}}, {soup: {of: members, \
     force: true}}]\nensemble: {min_members: 1}\nkeep: {checkpoints: 1}",
    "members: [{cross_validation: {folds: 4, keep: 3}}]\nensemble: {min_members: 1}\nkeep: {best: 1}\nserve: {}",
];

#[test]
fn what_vanishes_is_made_again() {
    let seeds = match std::env::var("TUTTI_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..std::env::var("TUTTI_SEEDS").map_or(300, |count| count.parse().unwrap()),
    };
    let mut counts = Counts::default();
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| history(seed)) {
            Ok(of_one) => counts.add(of_one),
            Err(panic) => {
                eprintln!("seed {seed} broke a promise; run it again with TUTTI_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{} histories: {counts:?}", seeds.clone().count());
    if seeds.count() >= 100 {
        let Counts { vanished, found, collected, lost, mended } = counts;
        assert!([vanished, found, collected, lost, mended].iter().all(|&count| count >= 50), "{counts:?}");
    }
}

/// What came up: artifacts that vanished, those that somebody missed, those that were collected, members that were lost,
/// and models of done jobs that were made again.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    vanished: u32,
    found: u32,
    collected: u32,
    lost: u32,
    mended: u32,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.vanished += other.vanished;
        self.found += other.found;
        self.collected += other.collected;
        self.lost += other.lost;
        self.mended += other.mended;
    }
}

fn history(seed: u64) -> Counts {
    let mut world = World::new(seed);
    (0..EVENTS).for_each(|_| world.event());
    world.finish_everything();
    world.mend();
    world.counts
}

struct World {
    random: u64,
    batch_norm: bool,
    cluster: Cluster,
    now: Millis,
    store: BTreeSet<Digest>,
    /// What each slot has still to say, and what it has still to read.
    slots: BTreeMap<u32, (LeaseKey, Vec<Artifact>, VecDeque<Command>)>,
    chores: Vec<Effect>,
    counts: Counts,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: seed,
            batch_norm: seed.is_multiple_of(2),
            cluster: Cluster::new(Settings::default()),
            now: 0,
            store: BTreeSet::new(),
            slots: BTreeMap::new(),
            chores: Vec::new(),
            counts: Counts::default(),
        };
        for number in 0..2 {
            let job = job(JOBS[world.below(JOBS.len())]).unwrap();
            world.apply(Command::Submit { key: number.to_string(), job: Box::new(job) });
        }
        world.apply(Command::Join { worker: worker(), slots: slots(SLOTS) });
        world
    }

    /// The mixer of SplitMix64 over a counter.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn event(&mut self) {
        match self.below(100) {
            0..4 => self.vanish(),
            4..6 => self.look_through(),
            6..10 => self.collect(),
            10..12 => self.fail(),
            12..20 => self.do_chore(),
            20..24 => self.pass_time(),
            _ => self.work(),
        }
    }

    fn apply(&mut self, command: Command) -> bool {
        let Ok(effects) = self.cluster.apply(self.now, command) else { return false };
        for effect in effects {
            self.act(effect);
        }
        self.check();
        true
    }

    fn act(&mut self, effect: Effect) {
        let kept = self.cluster.references();
        let given = handed_out(&effect);
        assert!(given.iter().all(|artifact| kept.contains(&artifact.digest)), "{effect:?} hands out garbage");
        match effect {
            Effect::Grant { slot, lease, work, .. } => {
                let messages = messages(&lease, &work, self.batch_norm);
                self.slots.insert(slot, (lease, given, messages));
            }
            Effect::Revoke { lease, .. } => self.slots.retain(|_, (held, ..)| *held != lease),
            Effect::Average { .. } | Effect::Combine { .. } => self.chores.push(effect),
            _ => {}
        }
    }

    fn check(&mut self) {
        assert!(restored(&self.cluster) == self.cluster, "a snapshot leaves something out");
        for job in self.cluster.jobs() {
            let tasks = self.cluster.tasks(&job.id).unwrap();
            let at_work = tasks.iter().any(|task| task.state == TaskState::Leased);
            let silent = job.detail.is_empty() || job.detail.contains("between two steps");
            assert!(job.phase != Phase::Running || at_work || !silent, "{job:?} {tasks:?}");
        }
    }

    fn vanish(&mut self) {
        if !self.store.is_empty() {
            let which = self.below(self.store.len());
            let digest = self.store.iter().nth(which).unwrap().clone();
            self.store.remove(&digest);
            self.counts.vanished += 1;
        }
    }

    /// Somebody notices one of the things that are gone, whom nobody has given it to read.
    fn look_through(&mut self) {
        let missing: Vec<_> = self.cluster.references().difference(&self.store).cloned().collect();
        if !missing.is_empty() {
            let digest = missing[self.below(missing.len())].clone();
            self.miss(digest);
        }
    }

    fn miss(&mut self, digest: Digest) {
        self.counts.found += 1;
        self.apply(Command::ReportDamaged { digest });
    }

    fn collect(&mut self) {
        let before = self.store.len();
        let kept = self.cluster.references();
        self.store.retain(|digest| kept.contains(digest));
        self.counts.collected += (before - self.store.len()) as u32;
    }

    fn fail(&mut self) {
        let Some(slot) = self.some_slot() else { return };
        let (lease, ..) = self.slots.remove(&slot).unwrap();
        let class = if self.below(3) == 0 { FailureClass::User } else { FailureClass::EngineLost };
        self.apply(Command::Fail { lease, failure: Failure { class, message: "broken".into() } });
    }

    fn pass_time(&mut self) {
        self.now += 2_000;
        self.apply(Command::Heartbeat { worker: worker() });
        for command in self.cluster.due(self.now) {
            self.apply(command);
        }
    }

    fn do_chore(&mut self) {
        if self.chores.is_empty() {
            return;
        }
        let which = self.below(self.chores.len());
        let chore = self.chores.swap_remove(which);
        let missing = handed_out(&chore).into_iter().find(|artifact| !self.store.contains(&artifact.digest));
        if let Some(artifact) = missing {
            self.miss(artifact.digest);
            assert!(!self.cluster.outstanding().contains(&chore), "what cannot be done is not asked for");
            return;
        }
        match chore {
            Effect::Average { job, average, .. } => {
                let artifact = self.upload(&artifact(&format!("{job}.soup-{average}")));
                let outcome = AverageOutcome::Averaged { artifact, batch_norm: self.batch_norm };
                self.apply(Command::FinishAverage { job, average, outcome });
            }
            Effect::Combine { job, members, .. } => {
                let report = ensemble::report::Report { weights: vec![1.0; members.len()], ..report() };
                let outcome = ReportOutcome::Done { report: Box::new(report) };
                self.apply(Command::FinishReport { job, outcome });
            }
            other => panic!("no chore: {other:?}"),
        }
    }

    fn some_slot(&mut self) -> Option<u32> {
        let busy: Vec<_> = self.slots.keys().copied().collect();
        (!busy.is_empty()).then(|| busy[self.below(busy.len())])
    }

    /// A slot asks for a task, finds that it cannot read what it needs, or says what it has done.
    fn work(&mut self) {
        let slot = self.below(SLOTS as usize) as u32;
        let Some((lease, inputs, messages)) = self.slots.get_mut(&slot) else {
            self.apply(Command::Ready { worker: worker(), slot });
            return;
        };
        let lease = lease.clone();
        let inputs = std::mem::take(inputs);
        if let Some(missing) = inputs.iter().find(|artifact| !self.store.contains(&artifact.digest)) {
            self.miss(missing.digest.clone());
            self.slots.retain(|_, (held, ..)| *held != lease);
            let failure = Failure { class: FailureClass::Infrastructure, message: "gone".into() };
            self.apply(Command::Fail { lease, failure });
            return;
        }
        let command = messages.pop_front().unwrap();
        if messages.is_empty() {
            self.slots.remove(&slot);
        }
        match &command {
            Command::CommitCheckpoint { artifact, .. }
            | Command::CommitModel { artifact, .. }
            | Command::FinishCalibration { artifact, .. }
            | Command::FinishEvaluation { predictions: artifact, .. } => drop(self.upload(artifact)),
            _ => {}
        }
        if !self.apply(command) {
            self.slots.retain(|_, (held, ..)| *held != lease);
        }
    }

    fn upload(&mut self, artifact: &Artifact) -> Artifact {
        self.store.insert(artifact.digest.clone());
        artifact.clone()
    }

    /// Goes on without faults until there is nothing to do.
    fn finish_everything(&mut self) {
        for _ in 0..500 {
            let jobs = self.cluster.jobs();
            let over = [TaskState::Done, TaskState::Failed, TaskState::Withdrawn];
            let mut tasks = jobs.iter().flat_map(|job| self.cluster.tasks(&job.id).unwrap());
            let idle = tasks.all(|task| over.contains(&task.state)) && self.cluster.outstanding().is_empty();
            if idle && jobs.iter().all(|job| job.ended_ms.is_some()) {
                return self.invariant_ends_are_told();
            }
            self.pass_time();
            (0..20).for_each(|_| self.do_chore());
            (0..30).for_each(|_| self.work());
        }
        panic!(
            "a job did not end: {:#?} {:?} {:?}",
            self.cluster.jobs(),
            self.cluster.tasks(&JobId::new("demo-1")),
            self.cluster.tasks(&JobId::new("demo-2"))
        );
    }

    fn invariant_ends_are_told(&mut self) {
        for job in self.cluster.jobs() {
            self.counts.lost += job.members_lost;
            match job.phase {
                Phase::Running => panic!("{} goes on", job.id),
                Phase::Failed => assert!(!job.detail.is_empty()),
                Phase::Cancelled => {}
                Phase::Done => {
                    let whole = job.members_ready + job.members_lost == job.members_total;
                    assert!(whole || job.detail.contains("cannot be made again"), "{job:?}");
                    assert!(job.members_lost == 0 || job.detail.contains("does without"), "{job:?}");
                }
            }
        }
    }

    /// Everything that is missing is noticed, until nothing is.
    fn mend(&mut self) {
        for _ in 0..20 {
            let missing: Vec<_> = self.shown().difference(&self.store).cloned().collect();
            if missing.is_empty() {
                return;
            }
            for digest in missing {
                self.miss(digest);
                self.counts.mended += 1;
            }
            self.finish_everything();
        }
        panic!("what done jobs show does not come back");
    }

    /// The models that done jobs keep, and show.
    fn shown(&self) -> BTreeSet<Digest> {
        let kept = self.cluster.references();
        let done = self.cluster.jobs().into_iter().filter(|job| job.phase == Phase::Done);
        let models = |id: &JobId| {
            let members = self.cluster.members(id).unwrap().into_iter();
            let members = members.filter(|member| member.state != MemberState::Lost).map(|member| member.digest);
            let averages = self.cluster.averages(id).unwrap().into_iter();
            let averages = averages.filter(|average| average.state != MemberState::Lost).map(|average| average.digest);
            members.chain(averages).collect::<Vec<_>>()
        };
        let models: Vec<_> = done.flat_map(|job| models(&job.id)).collect();
        models.into_iter().flatten().filter(|digest| kept.contains(digest)).collect()
    }
}

fn worker() -> WorkerId {
    WorkerId::new("w0")
}

/// What a worker that is granted this work will say, in order.
fn messages(lease: &LeaseKey, work: &Work, batch_norm: bool) -> VecDeque<Command> {
    let job = lease.task.job().unwrap();
    let lease = || lease.clone();
    match work {
        Work::Train { runs, .. } => {
            let mut messages = VecDeque::new();
            for step in (100..=STEPS).step_by(100) {
                messages.extend(runs.iter().flat_map(|run| at_step(&job, &lease(), run, step, batch_norm)));
            }
            messages.push_back(Command::FinishTraining { lease: lease() });
            messages
        }
        Work::Calibrate { model, .. } => {
            let artifact = artifact(&format!("{}+", named(model.digest.as_str())));
            [Command::FinishCalibration { lease: lease(), artifact }].into()
        }
        Work::Evaluate { run, model, .. } => {
            let held_out = matches!(run.samples, Samples::AllButFold { .. }).then_some(f64::from(run.index % 3));
            let predictions = artifact(&format!("{}?", named(model.digest.as_str())));
            [Command::FinishEvaluation { lease: lease(), predictions, scores: scores(held_out) }].into()
        }
    }
}

/// What a run has to say at a step, if it starts before: snapshots, then checkpoints, and its other models at the end. A
/// run that starts where it is left says so.
fn at_step(job: &JobId, lease: &LeaseKey, run: &TrainRun, step: u64, batch_norm: bool) -> Vec<Command> {
    let TrainRun { run, resume } = run;
    let start = resume.as_ref().map_or(0, step_of);
    let is_due = |kind: &ModelKind| match kind {
        ModelKind::Snapshot { cycle } => u64::from(cycle + 1) * STEPS / cycles(&yields(run)) == step && start < step,
        ModelKind::Final | ModelKind::Average { .. } => step == STEPS,
    };
    let model = |kind: ModelKind| {
        let place = yields(run).iter().position(|of| *of == kind).unwrap();
        let artifact = artifact(&format!("{job}.m{}.{place}", run.index));
        Command::CommitModel { lease: lease.clone(), run: run.index, kind, artifact, batch_norm }
    };
    let mut said: Vec<_> = yields(run).into_iter().filter(is_due).map(model).collect();
    let branches = step == BRANCH_STEP && !run.branch_points.is_empty();
    if step < STEPS && (start < step || start == step && branches) {
        said.push(Command::CommitCheckpoint {
            lease: lease.clone(),
            run: run.index,
            step,
            artifact: artifact(&format!("{job}.c{}.{step}", run.index)),
            branch: branches.then_some(0),
        });
    }
    said
}

fn step_of(artifact: &Artifact) -> u64 {
    named(artifact.digest.as_str()).rsplit_once('.').unwrap().1.parse().unwrap()
}

/// How many cycles a run of snapshots has: its last one ends the run.
fn cycles(kinds: &[ModelKind]) -> u64 {
    let last = kinds.iter().filter_map(|kind| match kind {
        ModelKind::Snapshot { cycle } => Some(u64::from(cycle + 1)),
        _ => None,
    });
    last.max().unwrap_or(1)
}
