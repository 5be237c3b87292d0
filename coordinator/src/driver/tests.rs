//! The driver's order, its patience and its sense of time, against a journal in memory that fails when told to.
#![allow(clippy::unwrap_used)]

use super::handle::{Applied, Request};
use super::patience::Patience;
use super::thread::{Act, Driver, ENTRIES_TO_REPLAY, TICK_EVERY};
use super::{ApplyError, Handle, Place, Restored, replay, spawn};
use crate::clock::Clock;
use crate::journal::{Entry, Journal, JournalError, RULES, Recorded, Sequence, Snapshot};
use ensemble::cluster::{Cluster, Command, Effect, Millis, Rejection, Settings, Slot};
use ensemble::id::{JobId, WorkerId};
use ensemble::job::Job;
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// What happened, in order.
type Trace = Arc<Mutex<Vec<String>>>;

/// How an append goes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing is written, for now.
    Full,
    /// It is written, and the answer is lost.
    AnswerLost,
    /// Nothing is written, ever.
    Deposed,
}

/// A journal in memory. Clones are the same.
#[derive(Clone, Default)]
struct Memory {
    entries: Arc<Mutex<Vec<Recorded>>>,
    snapshots: Arc<Mutex<Vec<Snapshot>>>,
    /// Whether another leads by the time a state is kept.
    deposed_meanwhile: bool,
    trace: Trace,
    /// Of the next appends.
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl Memory {
    fn write(&self, first: Sequence, entries: &[Entry]) {
        let mut written = self.entries.lock().unwrap();
        for (sequence, entry) in (first..).zip(entries).skip(written.len() + 1 - first as usize) {
            written.push(Recorded { sequence, rules: RULES, entry: entry.clone() });
        }
    }
}

impl Journal for Memory {
    fn append(&mut self, first: Sequence, entries: &[Entry]) -> Result<(), JournalError> {
        self.trace.lock().unwrap().push(format!("journal {first} +{}", entries.len()));
        let failed = |detail: &str| {
            Err(JournalError::Failed { journal: "memory".into(), detail: detail.into(), remedy: "make room" })
        };
        match self.faults.lock().unwrap().pop_front() {
            None => self.write(first, entries),
            Some(Fault::Full) => return failed("no space left"),
            Some(Fault::Deposed) => return Err(JournalError::Deposed { leader: "other, epoch 2".into() }),
            Some(Fault::AnswerLost) => {
                self.write(first, entries);
                return failed("the answer is lost");
            }
        }
        Ok(())
    }

    fn read(&mut self, after: Sequence) -> Result<Vec<Recorded>, JournalError> {
        Ok(self.entries.lock().unwrap().iter().skip(after as usize).take(2).cloned().collect())
    }

    fn keep_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), JournalError> {
        if self.deposed_meanwhile {
            return Err(JournalError::Deposed { leader: "other, epoch 2".into() });
        }
        self.snapshots.lock().unwrap().push(snapshot.clone());
        Ok(())
    }

    fn newest_snapshot(&mut self, before: Sequence) -> Result<Option<Snapshot>, JournalError> {
        let snapshots = self.snapshots.lock().unwrap();
        Ok(snapshots.iter().rev().find(|snapshot| snapshot.sequence < before).cloned())
    }

    fn name(&self) -> &str {
        "memory"
    }
}

/// Notes effects.
struct Noting(Trace);

impl Act for Noting {
    fn act(&mut self, effect: Effect) {
        let name = match effect {
            Effect::Grant { lease, .. } => format!("grant {}", lease.task),
            Effect::Accepted { job } => format!("accept {job}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(name);
    }
}

struct Bench {
    driver: Driver,
    memory: Memory,
    give_up: CancellationToken,
}

impl Bench {
    fn new(faults: &[Fault]) -> Self {
        let memory = Memory { faults: Arc::new(Mutex::new(faults.iter().copied().collect())), ..Memory::default() };
        let give_up = CancellationToken::new();
        let patience = Patience::new(watch::channel(None).0, give_up.clone());
        let actor = Box::new(Noting(memory.trace.clone()));
        let driver = Driver::new(nothing(), Box::new(memory.clone()), patience, actor, watch::channel(0).0);
        Self { driver, memory, give_up }
    }

    /// One round of commands, and how each was answered by the end of it.
    fn round(&mut self, commands: &[Command]) -> (Result<bool, JournalError>, Vec<Option<Applied>>) {
        let ask = |command: &Command| {
            let (answer, answered) = oneshot::channel();
            (Request::Apply { command: Box::new(command.clone()), answer }, answered)
        };
        let (mut requests, answers): (Vec<_>, Vec<_>) = commands.iter().map(ask).unzip();
        let end = self.driver.round(&mut requests);
        (end, answers.into_iter().map(|mut answer| answer.try_recv().ok()).collect())
    }

    fn tick(&mut self) {
        self.driver.round(&mut vec![Request::Tick]).unwrap();
    }

    /// Moves the clock without letting the driver run.
    fn jump(&mut self, milliseconds: Millis) {
        self.driver.clock = Clock::not_before(self.driver.clock.now() + milliseconds);
    }

    fn trace(&self) -> Vec<String> {
        std::mem::take(&mut self.memory.trace.lock().unwrap())
    }

    fn last_entry(&self) -> Command {
        self.memory.entries.lock().unwrap().last().unwrap().entry.command.clone()
    }
}

fn nothing() -> Restored {
    replay(Settings::default(), &mut Memory::default()).unwrap()
}

fn submit() -> Command {
    let file = "name: shapes\ndata: {format: idx, path: /data}\nmodel: {architecture: mlp}\n\
                train: {epochs: 1}\nmembers: [{seeds: {count: 2}}]";
    Command::Submit { key: "once".into(), job: Box::new(Job::parse(file, &[]).unwrap()) }
}

fn worker() -> WorkerId {
    WorkerId::new("w")
}

fn join() -> Command {
    Command::Join { worker: worker(), slots: vec![Slot { index: 0, device: "cpu".into(), holds: None }] }
}

fn ready() -> Command {
    Command::Ready { worker: worker(), slot: 0 }
}

#[test]
fn effects_follow_the_journal_and_rejections_are_no_history() {
    let mut bench = Bench::new(&[]);
    let cancel = Command::Cancel { job: JobId::new("nothing-7") };
    let (end, answers) = bench.round(&[submit(), cancel, join(), ready()]);
    assert!(!end.unwrap());
    assert_eq!(bench.trace(), ["journal 1 +3", "accept shapes-1", "grant shapes-1/train/0"]);
    let rejected = Rejection::UnknownJob(JobId::new("nothing-7"));
    let accepted = Some(Ok(Some(JobId::new("shapes-1"))));
    assert_eq!(answers, [accepted, Some(Err(rejected)), Some(Ok(None)), Some(Ok(None))]);
}

#[test]
fn a_round_that_is_not_written_is_kept_until_it_is_and_written_once() {
    let mut bench = Bench::new(&[Fault::Full, Fault::AnswerLost]);
    let (end, answers) = bench.round(&[submit()]);
    assert!(!end.unwrap());
    let tried = ["journal 1 +1", "journal 1 +1", "journal 1 +1", "accept shapes-1"];
    assert_eq!(bench.trace(), tried, "no effect before the journal has it");
    assert_eq!(answers, [Some(Ok(Some(JobId::new("shapes-1"))))]);
    bench.round(&[join()]).0.unwrap();
    assert_eq!(bench.trace(), ["journal 2 +1"]);
    assert_eq!(bench.memory.entries.lock().unwrap().len(), 2);
}

#[test]
fn a_driver_that_is_deposed_or_given_up_ends_without_an_answer_or_an_effect() {
    let mut deposed = Bench::new(&[Fault::Deposed]);
    let (end, answers) = deposed.round(&[submit()]);
    assert!(end.unwrap_err().to_string().contains("taken over (other, epoch 2)"));
    assert_eq!((deposed.trace(), answers), (vec!["journal 1 +1".to_owned()], vec![None]));

    let mut given_up = Bench::new(&[Fault::Full, Fault::Full]);
    given_up.give_up.cancel();
    let (end, answers) = given_up.round(&[submit()]);
    assert!(end.unwrap_err().to_string().contains("no space left"));
    assert_eq!((given_up.trace(), answers), (vec!["journal 1 +1".to_owned()], vec![None]));
}

#[test]
fn heartbeats_are_not_journalled_and_what_silence_brings_is() {
    let mut bench = Bench::new(&[]);
    bench.round(&[submit(), join(), ready()]).0.unwrap();
    bench.trace();
    bench.round(&[Command::Heartbeat { worker: worker() }]).0.unwrap();
    assert_eq!(bench.trace(), Vec::<String>::new());
    let lease = Settings::default().lease_ms;
    (0..4).for_each(|_| {
        bench.jump(lease / 4);
        bench.tick();
    });
    assert!(matches!(bench.last_entry(), Command::Leave { .. }), "a driver that runs hears silence");
    let [journalled, lost, revoked] = bench.trace().try_into().unwrap();
    assert_eq!((journalled.as_str(), lost.as_str()), ("journal 4 +1", "Lost { worker: WorkerId(\"w\") }"));
    assert!(revoked.starts_with("Revoke"), "{revoked}");
}

#[test]
fn no_worker_is_blamed_for_the_drivers_own_absence() {
    let mut bench = Bench::new(&[]);
    bench.round(&[submit(), join(), ready()]).0.unwrap();
    bench.trace();
    let lease = Settings::default().lease_ms;
    bench.jump(10 * lease);
    bench.tick();
    assert_eq!(bench.trace(), ["journal 4 +1"]);
    assert_eq!(bench.last_entry(), Command::Resume { sessions_ended: false });
    // From then on, silence counts again.
    (0..4).for_each(|_| {
        bench.jump(lease / 4);
        bench.tick();
    });
    assert!(matches!(bench.last_entry(), Command::Leave { .. }));
}

#[test]
fn a_driver_between_its_ticks_is_not_absent_however_short_the_lease() {
    let mut bench = Bench::new(&[]);
    bench.driver.cluster = Cluster::new(Settings { lease_ms: 300, ..Settings::default() });
    bench.round(&[submit(), join()]).0.unwrap();
    bench.trace();
    bench.jump(TICK_EVERY.as_millis() as Millis + 60);
    bench.tick();
    assert!(matches!(bench.last_entry(), Command::Leave { .. }));
}

#[test]
fn replay_brings_the_same_state_back() {
    let mut bench = Bench::new(&[]);
    bench.round(&[submit(), join(), ready(), Command::Heartbeat { worker: worker() }]).0.unwrap();
    bench.jump(10 * Settings::default().lease_ms);
    bench.tick();
    bench.round(&[join(), ready()]).0.unwrap();
    let restored = replay(Settings::default(), &mut bench.memory).unwrap();
    assert_eq!((restored.sequence, restored.replayed, restored.outdated), (6, 6, 0));
    let job = JobId::new("shapes-1");
    assert_eq!(restored.cluster.tasks(&job), bench.driver.cluster.tasks(&job));
    assert_eq!(restored.cluster.jobs(), bench.driver.cluster.jobs());
    assert_eq!(restored.cluster.workers(), bench.driver.cluster.workers());
}

#[test]
fn a_long_history_is_replayed_from_the_last_state_that_was_kept() {
    let mut bench = Bench::new(&[]);
    bench.round(&[submit(), join(), ready()]).0.unwrap();
    // To submit with a key that is known changes nothing and is history all the same.
    let page = vec![submit(); 100];
    let entries = 2 * ENTRIES_TO_REPLAY + 100;
    while bench.driver.sequence < entries {
        bench.round(&page).0.unwrap();
    }
    let restored = replay(Settings::default(), &mut bench.memory).unwrap();
    assert_eq!(restored.sequence, bench.driver.sequence);
    assert!(restored.replayed < ENTRIES_TO_REPLAY, "{} entries were replayed", restored.replayed);
    assert!(restored.cluster == bench.driver.cluster, "the same state, however it came back");

    let mut damaged = bench.memory.clone();
    damaged.snapshots.lock().unwrap().iter_mut().for_each(|snapshot| snapshot.state.truncate(9));
    let replayed = replay(Settings::default(), &mut damaged).unwrap();
    assert_eq!(replayed.replayed, bench.driver.sequence, "without a readable state, all of history");
    assert!(replayed.cluster == bench.driver.cluster);
}

#[test]
fn entries_of_older_rules_may_be_skipped_and_gaps_may_not() {
    let impossible = Entry { at: 1, command: Command::Cancel { job: JobId::new("nothing-7") } };
    let mut memory = Memory::default();
    memory.write(1, &[Entry { at: 1, command: submit() }, impossible]);
    let error = replay(Settings::default(), &mut memory).unwrap_err().to_string();
    assert!(error.contains("entry 2 of the journal memory cannot be replayed"), "{error}");
    memory.entries.lock().unwrap()[1].rules = RULES - 1;
    let restored = replay(Settings::default(), &mut memory).unwrap();
    assert_eq!((restored.replayed, restored.outdated, restored.skipped), (2, 1, 1));
    memory.entries.lock().unwrap()[1].sequence = 4;
    let error = replay(Settings::default(), &mut memory).unwrap_err().to_string();
    assert!(error.contains("entries 2 to 3 are missing"), "{error}");
}

/// Waits for something that comes soon, or never.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it comes within a minute")
}

/// While the journal is stalled, users are refused with the reason, and afterwards all goes on by itself.
#[tokio::test]
async fn users_are_told_of_a_stall_and_served_after_it() {
    let memory = Memory { faults: Arc::new(Mutex::new([Fault::Full; 200].into())), ..Memory::default() };
    let (faults, trace) = (memory.faults.clone(), memory.trace.clone());
    let actor = |_: &Handle| Box::new(Noting(trace)) as Box<dyn Act>;
    let (handle, ended) = spawn(Place::Thread, nothing(), Box::new(memory), CancellationToken::new(), actor).unwrap();
    let asked = tokio::spawn({
        let handle = handle.clone();
        async move { handle.apply(join()).await }
    });
    let refused = |error: ApplyError| assert!(error.to_string().contains("waiting for the journal"), "{error}");
    refused(soon(handle.try_apply(submit())).await.unwrap_err());
    refused(soon(handle.try_inspect(Cluster::jobs)).await.unwrap_err());
    assert!(handle.stall().borrow().is_some());
    faults.lock().unwrap().clear();
    soon(asked).await.unwrap().unwrap();
    soon(handle.stall().wait_for(Option::is_none)).await.unwrap();
    assert_eq!(soon(handle.try_apply(submit())).await, Ok(Some(JobId::new("shapes-1"))));
    handle.stop().await;
    soon(ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_driver_that_is_deposed_while_it_keeps_its_state_ends() {
    let memory = Memory { deposed_meanwhile: true, ..Memory::default() };
    let actor = |_: &Handle| Box::new(Noting(Trace::default())) as Box<dyn Act>;
    let (handle, ended) = spawn(Place::Thread, nothing(), Box::new(memory), CancellationToken::new(), actor).unwrap();
    // Many at once, for each that is waited for alone costs two changes of threads, and it takes thousands.
    let many = || join_all((0..128).map(|_| handle.apply(submit())));
    soon(async { while many().await.iter().all(Result::is_ok) {} }).await;
    let end = soon(ended).await.unwrap();
    assert!(matches!(end, Err(JournalError::Deposed { .. })), "{end:?}");
}
