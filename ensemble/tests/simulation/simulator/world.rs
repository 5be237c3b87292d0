//! The world: takes the next event from the agenda, lets it happen, and checks that every sentence still holds.

use super::agenda::{Agenda, Event, Time};
use super::baseline::{self, undisturbed};
use super::coordinator::{Coordinator, Wake as CoordinatorWake};
use super::disk::Disk;
use super::env::Env;
use super::faults::{Fault, Faults};
use super::history::History;
use super::invariants;
use super::jobs;
use super::ledger::Ledger;
use super::network::{Network, Side};
use super::plan::{Action, LEASE_MS, Plan};
use super::random::Random;
use super::store::Store;
use super::users::Users;
use super::wire::FromWorker;
use super::worker::Worker;
use ensemble::cluster::{Cluster, Command, FailureClass, Settings};
use ensemble::id::Digest;
use ensemble::job::Job;
use ensemble::view::{Phase, Standing, TaskState};
use std::collections::BTreeSet;

/// Members of each job of the worlds of thousands of workers.
const LARGE_JOB: usize = 500;
/// What is younger than this may be reported still, so it is not collected: longer than anything is away here.
const GARBAGE_AGE: Time = 1_200_000;
/// The most losses of a task that these histories can explain.
const LOSSES_MAX: u32 = 25;
/// Everything is read at most so often before it must be whole.
const READINGS_MAX: u32 = 20;
/// How long after the last fault operators look after the workers.
const MEND_AFTER: Time = 10_000;

pub struct World {
    pub env: Env,
    plan: Plan,
    coordinator: Option<Coordinator>,
    /// Until when the coordinator's process stands still, and since when.
    coordinator_paused: Option<(Time, Time)>,
    /// A crash that waits for the journal to be written: how long the coordinator is down, and how far its clock is set back.
    crash_in_write: Option<(Time, u64)>,
    epochs: u64,
    workers: Vec<Worker>,
    users: Users,
    calm: bool,
    tally: Tally,
    /// Whether all may be over.
    recheck: bool,
    /// How often everything was read at the end.
    readings: u32,
}

/// What a history came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub histories: u64,
    pub events: u64,
    pub virtual_ms: u64,
    pub workers: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Artifacts that were collected as garbage.
    pub collected: u64,
    pub faults: Faults,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.events += other.events;
        self.virtual_ms += other.virtual_ms;
        self.workers += other.workers;
        self.done += other.done;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.collected += other.collected;
        self.faults.add(&other.faults);
    }
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let workers: Vec<_> = (plan.workers.iter().enumerate())
            .map(|(index, of)| Worker::new(index, of.slots, of.drift, of.pace, of.direct))
            .collect();
        let env = Env {
            defect: plan.defect,
            now: 0,
            agenda: Agenda::default(),
            network: Network::new(workers.len(), Random::new(plan.seed, 2)),
            store: Store::default(),
            disk: Disk::new(),
            random: Random::new(plan.seed, 3),
            faults: Faults::default(),
            history: History::default(),
            ledger: Ledger::new(workers.len()),
            coordinator_listens: false,
        };
        let mut world = Self {
            env,
            plan,
            coordinator: None,
            coordinator_paused: None,
            crash_in_write: None,
            epochs: 0,
            workers,
            users: Users::default(),
            calm: false,
            tally: Tally::default(),
            recheck: false,
            readings: 0,
        };
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        self.env.agenda.set(0, Event::StartCoordinator);
        for worker in 0..self.workers.len() {
            self.env.agenda.set(1 + worker as Time % 1_000, Event::StartWorker { worker });
        }
        for (action, (at, _)) in self.plan.actions.iter().enumerate() {
            self.env.agenda.set(*at, Event::Planned(action));
        }
        self.env.agenda.set(self.plan.calm_at, Event::Calm);
    }

    /// Lets the history run to its end, where every job has ended.
    pub fn run(mut self) -> Tally {
        self.run_on();
        self.tally
    }

    /// As [`World::run`], and tells what happened.
    pub fn tell(mut self, history: &mut Vec<String>) {
        self.env.history = History::kept();
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run_on()));
        *history = self.env.history.lines.take().unwrap_or_default();
        if let Err(panic) = told {
            std::panic::resume_unwind(panic);
        }
    }

    /// Runs one job, and gives what it came to.
    pub fn run_alone(mut self, job: &Job) -> baseline::Result {
        self.users.ask(&mut self.env, Command::Submit { key: "alone".into(), job: Box::new(job.clone()) });
        self.run_to_calm_end();
        let job = &self.users.jobs()[0];
        let coordinator = self.coordinator.as_ref().expect("nothing has killed it");
        baseline::Result::of(&coordinator.cluster, job)
    }

    fn run_on(&mut self) {
        self.run_to_calm_end();
        self.check_end();
    }

    fn run_to_calm_end(&mut self) {
        while let Some((at, event)) = self.env.agenda.next() {
            self.env.now = at;
            self.tally.events += 1;
            self.happen(event);
            self.crash_if_writing();
            self.check();
            if self.is_over() {
                return;
            }
            if at > self.plan.end_by {
                panic!("liveness_every_job_ends: {}", self.explain());
            }
        }
        panic!("liveness_every_job_ends: nothing will happen any more; {}", self.explain());
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Planned(action) => self.act(action),
            Event::Calm => self.heal(),
            Event::Mend => self.mend(),
            Event::StartCoordinator => self.start_coordinator(),
            Event::StartWorker { worker } => self.start_worker(worker),
            Event::Arrival { connection, at } => self.arrive(connection, at),
            Event::Break { connection, at } => self.break_off(connection, at),
            Event::Again { epoch, connection, process, number, report } => {
                if let Some(coordinator) = self.coordinator.as_mut().filter(|running| running.epoch == epoch) {
                    coordinator.report(&mut self.env, connection, process, number, *report);
                }
            }
            Event::Worker { worker, process, wake } => {
                if let Some(until) = self.worker_stands_still(worker) {
                    return self.env.agenda.set(until, Event::Worker { worker, process, wake });
                }
                if self.workers[worker].process.as_ref().is_some_and(|running| running.number == process) {
                    self.workers[worker].wake(&mut self.env, wake);
                }
            }
            Event::Coordinator { epoch, wake } => self.wake_coordinator(epoch, wake),
            Event::Request { call } => self.request(call),
            Event::Answer { call, answer } => self.users.hear(&mut self.env, call, answer),
            Event::AskAgain { call, tries } => self.users.ask_again(&mut self.env, call, tries),
        }
    }

    fn worker_stands_still(&self, worker: usize) -> Option<Time> {
        let until = self.workers[worker].paused_until;
        (until > self.env.now).then_some(until)
    }

    fn coordinator_stands_still(&self) -> Option<Time> {
        self.coordinator_paused.map(|(_, until)| until).filter(|&until| until > self.env.now)
    }

    fn stands_still(&self, connection: usize, side: Side) -> Option<Time> {
        match side {
            Side::Worker => self.worker_stands_still(self.env.network.worker_of(connection)),
            Side::Coordinator => self.coordinator_stands_still(),
        }
    }

    fn arrive(&mut self, connection: usize, at: Side) {
        let held_up = self.env.network.held_up(self.env.now, connection, at);
        if let Some(until) = held_up.or_else(|| self.stands_still(connection, at)) {
            return self.env.agenda.set(until, Event::Arrival { connection, at });
        }
        let worker = self.env.network.worker_of(connection);
        match at {
            Side::Worker => {
                let Some(order) = self.env.network.arrive_down(connection) else { return };
                if self.workers[worker].process.is_some() {
                    self.workers[worker].obey(&mut self.env, connection, order);
                }
            }
            Side::Coordinator => {
                let Some(message) = self.env.network.arrive_up(connection) else { return };
                let Some(coordinator) = &mut self.coordinator else { return };
                if let FromWorker::Report { number, report } = &message
                    && let Some(late) = self.env.network.repeats(self.env.now, worker, &mut self.env.faults)
                    && let Some(process) = coordinator.process_at(worker, connection)
                {
                    let (epoch, number, report) = (coordinator.epoch, *number, report.clone());
                    self.env.set_in(late, Event::Again { epoch, connection, process, number, report });
                }
                coordinator.hear(&mut self.env, connection, &self.workers[worker], message);
            }
        }
    }

    fn break_off(&mut self, connection: usize, at: Side) {
        let held_up = self.env.network.held_up(self.env.now, connection, at);
        if let Some(until) = held_up.or_else(|| self.stands_still(connection, at)) {
            return self.env.agenda.set(until, Event::Break { connection, at });
        }
        if !self.env.network.notice_break(connection, at) {
            return;
        }
        let worker = self.env.network.worker_of(connection);
        match (at, &mut self.coordinator) {
            (Side::Worker, _) => self.workers[worker].broken(&mut self.env, connection),
            (Side::Coordinator, Some(coordinator)) => coordinator.broken(&mut self.env, connection, worker),
            (Side::Coordinator, None) => {}
        }
    }

    fn start_coordinator(&mut self) {
        if self.coordinator.is_none() {
            self.epochs += 1;
            let settings = Settings { lease_ms: LEASE_MS, ..Settings::default() };
            self.coordinator = Some(Coordinator::start(&mut self.env, self.epochs, settings));
        }
    }

    fn wake_coordinator(&mut self, epoch: u64, wake: CoordinatorWake) {
        if let Some(until) = self.coordinator_stands_still() {
            return self.env.agenda.set(until, Event::Coordinator { epoch, wake });
        }
        let Some(coordinator) = self.coordinator.as_mut().filter(|running| running.epoch == epoch) else { return };
        if let Some((since, until)) = self.coordinator_paused.take() {
            coordinator.was_away(&mut self.env, until - since);
        }
        coordinator.wake(&mut self.env, wake);
    }

    fn request(&mut self, call: usize) {
        if let Some(until) = self.coordinator_stands_still() {
            return self.env.agenda.set(until, Event::Request { call });
        }
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.ask(&mut self.env, call, self.users.calls[call].command.clone());
        }
    }

    fn act(&mut self, action: usize) {
        let (_, action) = self.plan.actions[action].clone();
        self.env.note(|| format!("-- {action:?}"));
        match action {
            Action::Submit { kind, seed, priority, namespace, key } => {
                let job = match kind {
                    jobs::COUNT => jobs::large(LARGE_JOB, seed, priority, namespace),
                    _ => jobs::job(kind, seed, priority, namespace),
                };
                self.users.ask(&mut self.env, Command::Submit { key: format!("key-{key}"), job: Box::new(job) });
            }
            Action::Cancel { pick } => {
                let known = self.users.jobs();
                if !known.is_empty() {
                    let job = known[(pick % known.len() as u64) as usize].clone();
                    self.users.ask(&mut self.env, Command::Cancel { job });
                }
            }
            Action::SetShare { namespace, weight } => {
                let namespace = format!("space-{namespace}");
                self.users.ask(&mut self.env, Command::SetShare { namespace, weight });
            }
            Action::Damage { pick } => self.damage(pick),
            Action::Collect => self.collect(),
            Action::Drain { worker } => {
                let worker = self.workers[worker].name.clone();
                self.users.ask(&mut self.env, Command::Drain { worker });
            }
            Action::Reinstate { worker } => {
                let worker = self.workers[worker].name.clone();
                self.users.ask(&mut self.env, Command::Reinstate { worker });
            }
            Action::CrashWorker { worker, down_ms } => {
                if self.workers[worker].crash(&mut self.env) {
                    self.env.faults.strike(Fault::WorkerCrash);
                    self.env.set_in(down_ms, Event::StartWorker { worker });
                }
            }
            Action::StopWorker { worker, down_ms } => {
                if !self.workers[worker].is_paused(self.env.now) && self.workers[worker].drain(&mut self.env) {
                    self.env.faults.strike(Fault::WorkerStop);
                    self.env.set_in(down_ms + 35_000, Event::StartWorker { worker });
                }
            }
            Action::PauseWorker { worker, for_ms } => self.pause_worker(worker, for_ms),
            Action::CrashCoordinator { down_ms, set_back_ms, writing: true } => {
                self.crash_in_write = Some((down_ms, set_back_ms));
            }
            Action::CrashCoordinator { down_ms, set_back_ms, writing: false } => {
                self.crash_coordinator(down_ms, set_back_ms)
            }
            Action::PauseCoordinator { for_ms } => {
                if self.coordinator.is_some() && self.coordinator_stands_still().is_none() {
                    if for_ms > LEASE_MS {
                        self.env.faults.strike(Fault::CoordinatorPause);
                    }
                    self.coordinator_paused = Some((self.env.now, self.env.now + for_ms));
                }
            }
            Action::ResetConnection { worker } => {
                if let Some(connection) = self.env.network.connection_of(worker) {
                    self.env.faults.strike(Fault::ConnectionReset);
                    self.env.network.reset(self.env.now, &mut self.env.agenda, connection);
                }
            }
            Action::CutLink { worker, up, down, for_ms } => {
                self.env.faults.strike(if up && down { Fault::Partition } else { Fault::PartitionOneWay });
                let until = self.env.now + for_ms;
                for (_, side) in [(up, Side::Coordinator), (down, Side::Worker)].into_iter().filter(|(cut, _)| *cut) {
                    self.env.network.cut(worker, side, until);
                }
            }
            Action::SlowLink { worker, by_ms, for_ms } => {
                self.env.faults.strike(Fault::Delay);
                self.env.network.slow(worker, by_ms, self.env.now + for_ms);
            }
            Action::RepeatReports { worker, for_ms } => self.env.network.repeat(worker, self.env.now + for_ms),
            Action::FillDisk { for_ms } => {
                self.env.disk.full_until = self.env.disk.full_until.max(self.env.now + for_ms);
            }
            Action::FailTask { pick, class } => self.fail_task(pick, class),
        }
    }

    fn pause_worker(&mut self, worker: usize, for_ms: Time) {
        if self.workers[worker].process.is_some() && !self.workers[worker].is_paused(self.env.now) {
            let past = for_ms > LEASE_MS;
            self.env.faults.strike(if past { Fault::WorkerPausePastLease } else { Fault::WorkerPause });
            self.workers[worker].paused_until = self.env.now + for_ms;
        }
    }

    fn crash_if_writing(&mut self) {
        let writes = self.coordinator.as_ref().is_some_and(|coordinator| !coordinator.is_settled());
        if let (true, Some((down_ms, set_back_ms))) = (writes, self.crash_in_write) {
            self.crash_in_write = None;
            self.crash_coordinator(down_ms, set_back_ms);
        }
    }

    /// Damages an artifact that somebody refers to.
    fn damage(&mut self, pick: u64) {
        let Some(coordinator) = &self.coordinator else { return };
        let references: Vec<_> = coordinator.cluster.references().into_iter().collect();
        if references.is_empty() {
            return;
        }
        let digest = &references[(pick % references.len() as u64) as usize];
        if self.env.store.damage(digest) {
            self.env.note(|| format!("{digest} is damaged"));
            self.env.faults.strike(Fault::DamagedArtifact);
        }
    }

    /// Removes what nobody refers to, but for what may be reported still.
    fn collect(&mut self) {
        let Some(coordinator) = self.coordinator.as_ref().filter(|running| running.is_settled()) else { return };
        let floor = self.env.now.saturating_sub(GARBAGE_AGE);
        self.tally.collected += self.env.store.collect(&coordinator.cluster.references(), floor) as u64;
    }

    fn crash_coordinator(&mut self, down_ms: Time, set_back_ms: u64) {
        if self.workers.len() < 100 {
            self.check_replay();
        }
        let Some(coordinator) = self.coordinator.take() else { return };
        let mut random = Random::new(self.plan.seed, 1_000 + self.epochs);
        coordinator.crash(&mut self.env, &mut random);
        self.coordinator_paused = None;
        if set_back_ms > 0 {
            self.env.faults.strike(Fault::ClockSetBack);
            self.env.disk.wall = self.env.disk.wall.saturating_sub(set_back_ms);
        }
        self.env.set_in(down_ms, Event::StartCoordinator);
    }

    fn fail_task(&mut self, pick: u64, class: FailureClass) {
        let awake = self.workers.iter().filter(|worker| !worker.is_paused(self.env.now));
        let slots = awake.flat_map(|worker| (0..worker.slots).map(move |slot| (worker, slot)));
        let at_work: Vec<_> = slots.filter(|(worker, slot)| worker.is_at_work(*slot)).collect();
        if at_work.is_empty() {
            return;
        }
        let (worker, slot) = at_work[(pick % at_work.len() as u64) as usize];
        let worker = worker.index;
        self.workers[worker].fail(&mut self.env, slot, class);
        self.env.faults.strike(match class {
            FailureClass::User | FailureClass::Data => Fault::UserFailure,
            FailureClass::OutOfMemory => Fault::OutOfMemory,
            FailureClass::Device => Fault::DeviceFailure,
            FailureClass::EngineLost => Fault::EngineLost,
            FailureClass::Infrastructure => Fault::InfrastructureFailure,
        });
    }

    /// Starts a worker that does not run. One that was stopped and stands still has not ended yet.
    fn start_worker(&mut self, worker: usize) {
        match self.workers[worker].is_draining() {
            true => self.env.set_in(1_000, Event::StartWorker { worker }),
            false => self.workers[worker].start(&mut self.env),
        }
    }

    /// Faults stop, and what they broke is mended.
    fn heal(&mut self) {
        self.env.note(|| "-- faults stop".to_owned());
        self.calm = true;
        (self.crash_in_write, self.recheck) = (None, true);
        self.env.ledger.faults_go_on = false;
        self.env.network.heal(self.env.now);
        self.env.disk.full_until = self.env.now;
        self.env.set_in(MEND_AFTER, Event::Mend);
    }

    /// Once all that users wanted is done, operators give work to the workers that were drained or set aside.
    fn mend(&mut self) {
        let Some(coordinator) = self.coordinator.as_ref().filter(|_| self.users.all_answered()) else {
            return self.env.set_in(MEND_AFTER, Event::Mend);
        };
        let idle = coordinator.cluster.workers().into_iter().filter(|worker| worker.standing != Standing::Active);
        for worker in idle.map(|worker| worker.id).collect::<Vec<_>>() {
            self.users.ask(&mut self.env, Command::Reinstate { worker });
        }
    }

    /// Whether faults have stopped and everything that was asked for is done.
    fn is_over(&mut self) -> bool {
        if !std::mem::take(&mut self.recheck) || !self.calm {
            return false;
        }
        let Some(coordinator) = &self.coordinator else { return false };
        let to_come = self.plan.actions.last().is_some_and(|(at, _)| *at >= self.env.now);
        if to_come || !self.users.all_answered() || !coordinator.is_settled() {
            self.recheck = true;
            return false;
        }
        let open = [TaskState::Ready, TaskState::Blocked, TaskState::Paused, TaskState::Leased];
        let cluster = &coordinator.cluster;
        let ended = cluster.jobs().iter().all(|job| {
            let tasks = || cluster.tasks(&job.id).unwrap_or_default();
            job.ended_ms.is_some() && tasks().iter().all(|task| !open.contains(&task.state))
        });
        ended && cluster.outstanding().is_empty() && self.read_everything()
    }

    fn check(&mut self) {
        if std::mem::take(&mut self.env.ledger.changed) {
            self.recheck = true;
            if self.workers.len() < 100 {
                invariants::check_holdings(&self.workers);
            }
        }
        if !self.env.ledger.new_grants.is_empty() {
            invariants::check_grants(&mut self.env.ledger, &self.workers, self.env.now);
        }
    }

    /// Reads the models of all finished jobs, as those who serve or export them would. What is damaged is made again.
    fn read_everything(&mut self) -> bool {
        let Some(coordinator) = &self.coordinator else { return false };
        let models = models_of_done_jobs(&coordinator.cluster);
        let damaged: Vec<_> = models.into_iter().filter(|digest| self.env.store.read(digest).is_none()).collect();
        self.readings += 1;
        assert!(self.readings < READINGS_MAX, "liveness_what_is_damaged_is_made_again: {damaged:?}");
        for digest in &damaged {
            self.users.ask(&mut self.env, Command::ReportDamaged { digest: digest.clone() });
        }
        damaged.is_empty()
    }

    /// Replays the journal beside the running coordinator.
    fn check_replay(&mut self) {
        let Some(coordinator) = self.coordinator.as_ref().filter(|running| running.is_settled()) else { return };
        let replayed = super::coordinator::replay(&mut self.env, coordinator.cluster.settings()).0;
        invariants::invariant_both_are_the_same("the journal and the state", &replayed, &coordinator.cluster);
    }

    /// What only the end shows: every job came to what it comes to undisturbed, as far as it came.
    fn check_end(&mut self) {
        self.check_replay();
        let coordinator = self.coordinator.as_ref().expect("it is up when all is over");
        let cluster = &coordinator.cluster;
        invariant_only_failures_burn_a_budget(cluster, &self.env.faults);
        invariant_no_task_loses_its_worker_again_and_again(cluster);
        for job in cluster.jobs() {
            let expected = undisturbed(cluster.job_file(&job.id).expect("the job is shown"));
            let result = baseline::Result::of(cluster, &job.id);
            invariant_nothing_that_happens_changes_a_result(&job.id, &result, &expected);
            match job.phase {
                Phase::Done => self.tally.done += 1,
                Phase::Failed => self.tally.failed += 1,
                Phase::Cancelled => self.tally.cancelled += 1,
                Phase::Running => unreachable!("all jobs have ended"),
            }
        }
        self.tally.histories = 1;
        self.tally.virtual_ms = self.env.now;
        self.tally.workers = self.workers.len() as u64;
        self.tally.faults = self.env.faults.clone();
    }

    /// Why it goes on: what each job waits for, and what each worker does.
    fn explain(&self) -> String {
        let Some(coordinator) = &self.coordinator else { return "there is no coordinator".to_owned() };
        let cluster = &coordinator.cluster;
        let mut text = String::new();
        for job in cluster.jobs().iter().filter(|job| job.ended_ms.is_none()) {
            text += &format!("\n{}: {:?} {}", job.id, job.phase, job.detail);
            for task in cluster.tasks(&job.id).unwrap_or_default() {
                text += &format!("\n    {task:?}");
            }
        }
        for (shown, worker) in cluster.workers().iter().zip(&self.workers) {
            text += &format!("\n{shown:?}\n    {:?}", worker.process);
        }
        let open = self.users.calls.iter().filter(|call| call.answer.is_none());
        open.for_each(|call| text += &format!("\nunanswered: {:?}", call.command));
        text
    }
}

/// The faults of a history are too few to exhaust what a task may lose: whoever loses more goes round in circles.
fn invariant_no_task_loses_its_worker_again_and_again(cluster: &Cluster) {
    let tasks = cluster.jobs().into_iter().flat_map(|job| cluster.tasks(&job.id).expect("the job was just shown"));
    let worst = tasks.max_by_key(|task| task.losses).filter(|task| task.losses > LOSSES_MAX);
    assert!(worst.is_none(), "invariant_no_task_loses_its_worker_again_and_again: {worst:?}");
}

/// Crashes, partitions and lost sessions never count against a job.
fn invariant_only_failures_burn_a_budget(cluster: &Cluster, faults: &Faults) {
    let tasks = cluster.jobs().into_iter().flat_map(|job| cluster.tasks(&job.id).expect("the job was just shown"));
    let counted: u64 = tasks.map(|task| u64::from(task.failures)).sum();
    let struck: u64 =
        [Fault::EngineLost, Fault::OutOfMemory, Fault::UserFailure].map(|fault| faults.of(fault)).iter().sum();
    assert!(counted <= struck, "invariant_only_failures_burn_a_budget: {counted} are counted and {struck} struck");
}

fn models_of_done_jobs(cluster: &Cluster) -> BTreeSet<Digest> {
    let done = cluster.jobs().into_iter().filter(|job| job.phase == Phase::Done);
    done.flat_map(|job| {
        let members = cluster.members(&job.id).unwrap_or_default().into_iter().filter_map(|member| member.digest);
        let averages = cluster.averages(&job.id).unwrap_or_default().into_iter().filter_map(|average| average.digest);
        members.chain(averages).collect::<Vec<_>>()
    })
    .collect()
}

fn invariant_nothing_that_happens_changes_a_result(
    job: &ensemble::id::JobId,
    result: &baseline::Result,
    expected: &baseline::Result,
) {
    let name = "invariant_nothing_that_happens_changes_a_result";
    if result.phase == Phase::Done && !result.incomplete {
        return assert_eq!(result, expected, "{name}: {job}");
    }
    // Whoever wins in a contest, and what a soup is made of, depends on who is lost.
    let models = result.members.iter().map(|of| (of, &expected.members));
    let averages = result.averages.iter().map(|of| (of, &expected.averages)).filter(|_| !result.incomplete);
    for ((model, digest), expected) in models.chain(averages) {
        let same = match (digest, expected.get(model)) {
            // Which models are kept depends on all scores.
            (None, _) | (_, Some(None)) => true,
            (_, None) => result.incomplete,
            (digest, Some(expected)) => digest == expected,
        };
        assert!(same, "{name}: {model} of {job} is {digest:?}, not {:?}", expected.get(model));
    }
}
