//! Seeded random histories: a small fleet of workers that lose their connection, fall silent, fail, repeat themselves and
//! come back late, against several jobs of every kind.
//!
//! Goal: whatever happens, the sentences of `invariant_*` hold after every event; once faults stop, every job ends; and
//! the journal alone rebuilds the state. A failure prints its seed; `TUTTI_SEED` runs that one, `TUTTI_SEEDS` sets how
//! many are run.

use crate::script::{artifact, job, named, report, scores, slots};
use ensemble::cluster::{
    AverageOutcome, Cluster, Command, Effect, Failure, FailureClass, LeaseKey, LeaveReason, Millis, Rejection,
    ReportOutcome, Settings, TrainRun, Work,
};
use ensemble::expand::yields;
use ensemble::id::{JobId, TaskId, WorkerId};
use ensemble::job::Job;
use ensemble::run::{Artifact, Goal, Samples};
use ensemble::view::{MemberState, Phase, TaskState};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const EVENTS: usize = 400;
const WORKERS: usize = 4;
const SLOTS: u32 = 2;
const HEARTBEAT_MS: Millis = 2_000;
/// Steps of a run, and where the runs of these jobs branch.
const STEPS: u64 = 400;
const BRANCH_STEP: u64 = 200;

const JOBS: [&str; 6] = [
    "members: [{seeds: {count: 3}}]",
    "train: {epochs: 4, pack: 2}\nmembers: [{seeds: {count: 4}}]\naverage: [ema]",
    "members: [{seeds: {count: 1}}]\naverage: [{swa: {start: 0.5}}]",
    "members: [{snapshots: {cycles: 4, keep_last: 2}}]\naverage: [{soup: {of: snapshots}}]",
    "members: [{cross_validation: {folds: 3, keep: 2}}]",
    "train: {epochs: 4, pack: 4}\nmembers: [{cross_validation: {folds: 2, keep: 1, winners: configurations, \
     grid: {train.learning_rate.max: [0.1, 0.2]}}}]",
];

#[test]
fn random_histories_keep_the_promises() {
    let seeds = match std::env::var("TUTTI_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..std::env::var("TUTTI_SEEDS").map_or(300, |count| count.parse().unwrap()),
    };
    let mut counts = Counts::default();
    for seed in seeds.clone() {
        let result = std::panic::catch_unwind(|| history(seed));
        match result {
            Ok(of_one) => counts.add(&of_one),
            Err(panic) => {
                eprintln!("seed {seed} broke a promise; run it again with TUTTI_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{} histories: {counts:?}", seeds.clone().count());
    // A history in which nothing went wrong shows nothing.
    if seeds.count() >= 100 {
        let Counts { done, failed, cancelled, stale, lost, repeated, retried } = counts;
        assert!(
            [done, failed, cancelled, stale, lost, repeated, retried].iter().all(|&count| count >= 50),
            "{counts:?}"
        );
    }
}

/// What came up in histories.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    done: u32,
    failed: u32,
    cancelled: u32,
    stale: u32,
    lost: u32,
    repeated: u32,
    retried: u32,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.stale += other.stale;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.retried += other.retried;
    }
}

fn history(seed: u64) -> Counts {
    let mut world = World::new(seed);
    for _ in 0..EVENTS {
        world.event();
    }
    world.calm();
    world.replay();
    world.counts
}

/// The mixer of SplitMix64 over a counter.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A worker as it sees itself.
#[derive(Clone, Default)]
struct Worker {
    /// Whether it believes to be in session.
    joined: bool,
    /// Whether nothing of what it sends arrives, heartbeats included, until it wakes up.
    stalled: bool,
    slots: BTreeMap<u32, SlotOf>,
}

#[derive(Clone)]
enum SlotOf {
    Idle,
    Asked,
    /// At a task, with the messages that it has still to send.
    Working(LeaseKey, VecDeque<Command>),
}

struct World {
    random: Random,
    batch_norm: bool,
    cluster: Cluster,
    now: Millis,
    jobs: Vec<Job>,
    workers: Vec<Worker>,
    /// What the coordinator itself has to do.
    chores: Vec<Effect>,
    /// Everything that was accepted, in order.
    journal: Vec<(Millis, Command)>,
    attempts: BTreeMap<TaskId, u32>,
    done: BTreeSet<TaskId>,
    ended: BTreeSet<JobId>,
    counts: Counts,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            batch_norm: seed.is_multiple_of(2),
            cluster: Cluster::new(Settings::default()),
            now: 1_000_000,
            jobs: JOBS.iter().map(|sections| job(sections).unwrap()).collect(),
            workers: vec![Worker::default(); WORKERS],
            chores: Vec::new(),
            journal: Vec::new(),
            attempts: BTreeMap::new(),
            done: BTreeSet::new(),
            ended: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    fn event(&mut self) {
        match self.random.below(100) {
            0..4 => self.submit(),
            4 if self.random.one_in(4) => self.cancel(),
            5..12 => self.join(),
            12..14 => self.leave(),
            14..18 => self.stall_or_wake(),
            18..28 => self.pass_time(),
            28..32 => self.repeat(),
            32..36 => self.fail(),
            36..40 => self.do_chore(),
            40..60 => self.ask(),
            _ => self.work(),
        }
    }

    /// Applies a command, and checks every promise.
    fn apply(&mut self, command: Command) -> Result<(), Rejection> {
        let effects = match self.cluster.apply(self.now, command.clone()) {
            Ok(effects) => effects,
            Err(rejection) => {
                self.counts.stale += u32::from(matches!(rejection, Rejection::StaleLease(_)));
                return Err(rejection);
            }
        };
        self.journal.push((self.now, command));
        for effect in effects {
            self.invariant_nothing_is_granted_after_the_end(&effect);
            self.act(effect);
        }
        self.check();
        Ok(())
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Grant { worker, slot, lease, work } => {
                let messages = messages(&lease, &work, self.batch_norm);
                self.worker(&worker).slots.insert(slot, SlotOf::Working(lease, messages));
            }
            Effect::Revoke { worker, lease } => {
                for slot in self.worker(&worker).slots.values_mut() {
                    if matches!(slot, SlotOf::Working(held, _) if *held == lease) {
                        *slot = SlotOf::Idle;
                    }
                }
            }
            Effect::JobEnded { job } => {
                assert!(self.ended.insert(job), "a job ends once");
            }
            Effect::Average { .. } | Effect::Combine { .. } => self.chores.push(effect),
            Effect::Lost { .. } => self.counts.lost += 1,
            Effect::Retried { .. } => self.counts.retried += 1,
            Effect::Accepted { .. } | Effect::Kept { .. } | Effect::Yield { .. } => {}
        }
    }

    fn worker(&mut self, id: &WorkerId) -> &mut Worker {
        &mut self.workers[id.as_str()[1..].parse::<usize>().unwrap()]
    }

    fn submit(&mut self) {
        if self.journal.iter().filter(|(_, command)| matches!(command, Command::Submit { .. })).count() < 6 {
            let job = self.random.below(JOBS.len());
            let key = format!("key-{}", self.random.below(8));
            self.apply(Command::Submit { key, job: Box::new(self.jobs[job].clone()) }).unwrap();
        }
    }

    fn cancel(&mut self) {
        let jobs = self.cluster.jobs();
        if !jobs.is_empty() {
            let job = jobs[self.random.below(jobs.len())].id.clone();
            let _ = self.apply(Command::Cancel { job });
        }
    }

    fn join(&mut self) {
        let index = self.random.below(WORKERS);
        if !self.workers[index].stalled {
            self.join_worker(index);
        }
    }

    fn join_worker(&mut self, index: usize) {
        let fresh = (0..SLOTS).map(|slot| (slot, SlotOf::Idle)).collect();
        self.workers[index] = Worker { joined: true, stalled: false, slots: fresh };
        self.apply(Command::Join { worker: id(index), slots: slots(SLOTS) }).unwrap();
    }

    fn leave(&mut self) {
        let index = self.random.below(WORKERS);
        let reasons = [LeaveReason::Disconnected, LeaveReason::Drained];
        let reason = reasons[self.random.below(2)];
        if self.apply(Command::Leave { worker: id(index), reason }).is_ok() && reason == LeaveReason::Drained {
            self.workers[index].joined = false;
        }
    }

    /// A stalled worker goes on by itself; when it wakes up, it says what it has done, maybe too late.
    fn stall_or_wake(&mut self) {
        let index = self.random.below(WORKERS);
        self.workers[index].stalled = !self.workers[index].stalled;
    }

    fn pass_time(&mut self) {
        self.now += self.random.below(12_000) as Millis;
        for index in 0..WORKERS {
            if self.workers[index].joined && !self.workers[index].stalled {
                let _ = self.apply(Command::Heartbeat { worker: id(index) });
            }
        }
        self.apply_due();
    }

    fn apply_due(&mut self) {
        for command in self.cluster.due(self.now) {
            self.apply(command).unwrap();
        }
        assert!(self.cluster.due(self.now).is_empty(), "what was due has been done");
        assert!(self.cluster.next_due().is_none_or(|next| next > self.now));
    }

    /// A message comes twice.
    fn repeat(&mut self) {
        let results = self.journal.iter().rev().map(|(_, command)| command).filter(|command| is_result(command));
        let recent: Vec<_> = results.take(20).cloned().collect();
        if !recent.is_empty() {
            let command = recent[self.random.below(recent.len())].clone();
            let before = seen(&self.cluster);
            self.counts.repeated += u32::from(self.apply(command.clone()).is_ok());
            assert!(before == seen(&self.cluster), "a repeated message changes nothing: {command:?}");
        }
    }

    fn fail(&mut self) {
        let Some((index, slot)) = self.some_slot(|slot| matches!(slot, SlotOf::Working(..))) else { return };
        let SlotOf::Working(lease, _) = self.workers[index].slots[&slot].clone() else { unreachable!() };
        let classes =
            [FailureClass::EngineLost, FailureClass::OutOfMemory, FailureClass::Infrastructure, FailureClass::Data];
        let fatal = self.random.one_in(20);
        let class = if fatal { FailureClass::User } else { classes[self.random.below(classes.len())] };
        self.workers[index].slots.insert(slot, SlotOf::Idle);
        let _ = self.apply(Command::Fail { lease, failure: Failure { class, message: "broken".into() } });
    }

    fn do_chore(&mut self) {
        if self.chores.is_empty() {
            return;
        }
        let chore = self.random.below(self.chores.len());
        let command = match self.chores.swap_remove(chore) {
            Effect::Average { job, average, models } => {
                assert!(!models.is_empty());
                let artifact = artifact(&format!("soup-{average}"));
                let outcome = AverageOutcome::Averaged { artifact, batch_norm: self.batch_norm };
                Command::FinishAverage { job, average, outcome }
            }
            Effect::Combine { job, members, .. } => {
                assert_eq!(members.len() as u32, self.cluster.job(&job).unwrap().members_total);
                Command::FinishReport { job, outcome: ReportOutcome::Done { report: Box::new(report()) } }
            }
            other => panic!("no chore: {other:?}"),
        };
        let _ = self.apply(command);
    }

    /// An idle slot asks for a task.
    fn ask(&mut self) {
        if let Some((index, slot)) = self.some_slot(|slot| matches!(slot, SlotOf::Idle)) {
            self.ask_slot(index, slot);
        }
    }

    fn ask_slot(&mut self, index: usize, slot: u32) {
        self.workers[index].slots.insert(slot, SlotOf::Asked);
        if self.apply(Command::Ready { worker: id(index), slot }).is_err() {
            self.workers[index].slots.insert(slot, SlotOf::Idle);
            self.workers[index].joined = false;
        }
    }

    /// A working slot sends its next message.
    fn work(&mut self) {
        if let Some((index, slot)) = self.some_slot(|slot| matches!(slot, SlotOf::Working(..))) {
            self.work_slot(index, slot);
        }
    }

    fn work_slot(&mut self, index: usize, slot: u32) -> bool {
        let Some(SlotOf::Working(lease, messages)) = self.workers[index].slots.get_mut(&slot) else { return false };
        let lease = lease.clone();
        let message = messages.pop_front().unwrap();
        let last = messages.is_empty();
        let refused = self.apply(message).is_err();
        // Its last word may have freed the slot for the next grant already; that one is not to be forgotten.
        let same = matches!(&self.workers[index].slots[&slot], SlotOf::Working(held, _) if *held == lease);
        if (last || refused) && same {
            self.workers[index].slots.insert(slot, SlotOf::Idle);
        }
        !refused
    }

    /// A slot of a worker whose messages arrive.
    fn some_slot(&mut self, wanted: impl Fn(&SlotOf) -> bool) -> Option<(usize, u32)> {
        let workers = self.workers.iter().enumerate().filter(|(_, worker)| worker.joined && !worker.stalled);
        let slots =
            workers.flat_map(|(index, worker)| worker.slots.iter().map(move |(&slot, state)| (index, slot, state)));
        let found: Vec<_> = slots.filter(|(.., state)| wanted(state)).map(|(index, slot, _)| (index, slot)).collect();
        (!found.is_empty()).then(|| found[self.random.below(found.len())])
    }

    /// No more faults: every worker is there and works. Then every job must end, and nothing may be refused.
    fn calm(&mut self) {
        (0..WORKERS).for_each(|index| self.join_worker(index));
        for _ in 0..1_000 {
            if self.cluster.jobs().iter().all(|job| job.ended_ms.is_some()) {
                return self.count_jobs();
            }
            self.now += HEARTBEAT_MS;
            for index in 0..WORKERS {
                self.apply(Command::Heartbeat { worker: id(index) }).unwrap();
            }
            self.apply_due();
            while !self.chores.is_empty() {
                self.do_chore();
            }
            while let Some((index, slot)) = self.some_slot(|slot| matches!(slot, SlotOf::Idle)) {
                self.ask_slot(index, slot);
            }
            while let Some((index, slot)) = self.some_slot(|slot| matches!(slot, SlotOf::Working(..))) {
                assert!(self.work_slot(index, slot), "without faults, no message is refused");
            }
        }
        panic!("a job did not end: {:#?}", self.cluster.jobs());
    }

    fn count_jobs(&mut self) {
        for job in self.cluster.jobs() {
            match job.phase {
                Phase::Done => self.counts.done += 1,
                Phase::Failed => self.counts.failed += 1,
                Phase::Cancelled => self.counts.cancelled += 1,
                Phase::Running => panic!("{} goes on", job.id),
            }
        }
    }

    /// The journal alone, through its JSON form, gives the same state; without heartbeats it gives all but their times.
    fn replay(&self) {
        let mut all = Cluster::new(Settings::default());
        let mut quiet = Cluster::new(Settings::default());
        for (at, command) in &self.journal {
            let command: Command = serde_json::from_str(&serde_json::to_string(command).unwrap()).unwrap();
            if !matches!(command, Command::Heartbeat { .. }) {
                quiet.apply(*at, command.clone()).unwrap();
            }
            all.apply(*at, command).unwrap();
        }
        assert!(format!("{all:?}") == format!("{:?}", self.cluster), "replay gives the same state");
        assert!(seen(&quiet) == seen(&self.cluster), "heartbeats move nothing that is seen");
    }

    fn check(&mut self) {
        self.invariant_a_slot_holds_at_most_one_lease_and_shows_it();
        self.invariant_attempts_only_grow();
        self.invariant_what_is_done_stays_done();
        self.invariant_an_ended_job_holds_no_leases();
        self.invariant_every_member_of_a_done_job_has_scores();
        self.invariant_no_slot_waits_beside_a_ready_task();
        self.invariant_budgets_are_kept();
    }

    fn invariant_nothing_is_granted_after_the_end(&self, effect: &Effect) {
        if let Effect::Grant { lease, .. } = effect {
            let job = JobId::new(lease.task.as_str().split('/').next().unwrap());
            assert!(!self.ended.contains(&job), "{lease:?} is granted, and {job} has ended");
        }
    }

    fn invariant_a_slot_holds_at_most_one_lease_and_shows_it(&self) {
        let mut leases = BTreeMap::new();
        for task in self.all_tasks() {
            assert_eq!(task.at.is_some(), task.state == TaskState::Leased, "{task:?}");
            if let Some(at) = task.at {
                let other = leases.insert(at, task.id.clone());
                assert!(other.is_none(), "a slot is at {} and at {other:?}", task.id);
            }
        }
        let workers = self.cluster.workers();
        let slots = workers.iter().flat_map(|worker| worker.slots.iter().map(|slot| (worker.id.clone(), slot)));
        let shown = slots.filter_map(|(worker, slot)| Some(((worker, slot.index), slot.task.clone()?)));
        assert_eq!(shown.collect::<BTreeMap<_, _>>(), leases, "slots and tasks agree");
    }

    fn invariant_attempts_only_grow(&mut self) {
        for task in self.all_tasks() {
            let before = self.attempts.insert(task.id.clone(), task.attempt).unwrap_or(0);
            assert!(before <= task.attempt, "{task:?} was at attempt {before}");
        }
    }

    fn invariant_what_is_done_stays_done(&mut self) {
        for task in self.all_tasks() {
            match task.state {
                TaskState::Done => drop(self.done.insert(task.id)),
                _ => assert!(!self.done.contains(&task.id), "{task:?} was done"),
            }
        }
    }

    fn invariant_an_ended_job_holds_no_leases(&self) {
        for job in self.cluster.jobs().iter().filter(|job| job.ended_ms.is_some()) {
            assert!(self.ended.contains(&job.id));
            let over = [TaskState::Done, TaskState::Failed, TaskState::Withdrawn];
            assert!(self.cluster.tasks(&job.id).unwrap().iter().all(|task| over.contains(&task.state)));
        }
    }

    fn invariant_every_member_of_a_done_job_has_scores(&self) {
        for job in self.cluster.jobs().iter().filter(|job| job.phase == Phase::Done) {
            assert_eq!(job.members_ready, job.members_total);
            for member in self.cluster.members(&job.id).unwrap() {
                assert!(member.state == MemberState::Evaluated && member.test.is_some(), "{member:?}");
            }
            let averages = self.cluster.averages(&job.id).unwrap();
            assert!(averages.iter().all(|average| average.state == MemberState::Evaluated));
            let tasks = self.cluster.tasks(&job.id).unwrap();
            assert!(tasks.iter().all(|task| task.state == TaskState::Done));
        }
    }

    fn invariant_no_slot_waits_beside_a_ready_task(&self) {
        let ready = self.all_tasks().any(|task| task.state == TaskState::Ready);
        let workers = self.cluster.workers().into_iter().filter(|worker| worker.connected);
        let mut waiting = workers.flat_map(|worker| {
            let asked = self.workers[worker.id.as_str()[1..].parse::<usize>().unwrap()].slots.clone();
            worker.slots.into_iter().filter(move |slot| matches!(asked.get(&slot.index), Some(SlotOf::Asked)))
        });
        assert!(!(ready && waiting.next().is_some()), "a slot waits, and a task too");
    }

    fn invariant_budgets_are_kept(&self) {
        for task in self.all_tasks().filter(|task| task.state != TaskState::Failed) {
            assert!(task.failures <= 7 && task.losses <= 50, "{task:?}");
        }
    }

    fn all_tasks(&self) -> impl Iterator<Item = ensemble::view::TaskView> + use<> {
        let jobs = self.cluster.jobs();
        let tasks: Vec<_> = jobs.iter().flat_map(|job| self.cluster.tasks(&job.id).unwrap()).collect();
        tasks.into_iter()
    }
}

fn id(index: usize) -> WorkerId {
    WorkerId::new(format!("w{index}"))
}

/// All that a cluster shows, but for when workers were last heard of.
fn seen(cluster: &Cluster) -> String {
    let mut workers = cluster.workers();
    workers.iter_mut().for_each(|worker| worker.last_heartbeat_ms = 0);
    let jobs = cluster.jobs().into_iter().map(|job| {
        let id = &job.id;
        let parts =
            (cluster.members(id), cluster.averages(id), cluster.runs(id), cluster.tasks(id), cluster.checkpoints(id));
        format!("{job:?} {parts:?}")
    });
    format!("{workers:?} {:?} {:?}", jobs.collect::<Vec<_>>(), cluster.outstanding())
}

fn is_result(command: &Command) -> bool {
    matches!(
        command,
        Command::CommitCheckpoint { .. }
            | Command::CommitModel { .. }
            | Command::FinishTraining { .. }
            | Command::FinishCalibration { .. }
            | Command::FinishEvaluation { .. }
            | Command::Fail { .. }
            | Command::FinishAverage { .. }
            | Command::FinishReport { .. }
            | Command::Retry { .. }
    )
}

/// What a worker that is granted this work will say, in order.
fn messages(lease: &LeaseKey, work: &Work, batch_norm: bool) -> VecDeque<Command> {
    match work {
        Work::Train { runs, .. } => {
            let mut messages: VecDeque<_> =
                (100..STEPS).step_by(100).flat_map(|step| checkpoints(lease, runs, step)).collect();
            messages.extend(runs.iter().flat_map(|run| models(lease, run, batch_norm)));
            messages.push_back(Command::FinishTraining { lease: lease.clone() });
            messages
        }
        Work::Calibrate { model, .. } => {
            let artifact = artifact(&format!("{}+", named(model.digest.as_str())));
            [Command::FinishCalibration { lease: lease.clone(), artifact }].into()
        }
        Work::Evaluate { run, model, .. } => {
            let held_out = matches!(run.samples, Samples::AllButFold { .. }).then_some(f64::from(run.index % 3));
            let predictions = artifact(&format!("p-{}", named(model.digest.as_str())));
            let scores = scores(held_out);
            [Command::FinishEvaluation { lease: lease.clone(), predictions, scores }].into()
        }
    }
}

/// The checkpoints that the runs of a pack commit at a step, as far as they start before it.
fn checkpoints(lease: &LeaseKey, runs: &[TrainRun], step: u64) -> Vec<Command> {
    let late = |run: &&TrainRun| start(run) < step;
    let checkpoint = |TrainRun { run, .. }: &TrainRun| Command::CommitCheckpoint {
        lease: lease.clone(),
        run: run.index,
        step,
        artifact: artifact(&format!("c{}.{step}", run.index)),
        branch: (step == BRANCH_STEP && !run.branch_points.is_empty()).then_some(0),
    };
    runs.iter().filter(late).map(checkpoint).collect()
}

/// The step at which a run starts, as the name of its checkpoint tells.
fn start(run: &TrainRun) -> u64 {
    let step = |artifact: &Artifact| named(artifact.digest.as_str()).split_once('.').unwrap().1.parse().unwrap();
    let start = run.resume.as_ref().map_or(0, step);
    let branches = matches!(run.run.goal, Goal::Swa { .. });
    assert!(!branches || start >= BRANCH_STEP, "a run that branches off starts where it does");
    start
}

fn models(lease: &LeaseKey, TrainRun { run, .. }: &TrainRun, batch_norm: bool) -> Vec<Command> {
    let model = |kind| Command::CommitModel {
        lease: lease.clone(),
        run: run.index,
        kind,
        artifact: artifact(&format!("m{}.{}", run.index, yields(run).iter().position(|of| *of == kind).unwrap())),
        batch_norm,
    };
    yields(run).into_iter().map(model).collect()
}
