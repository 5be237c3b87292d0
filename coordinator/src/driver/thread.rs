//! The thread that owns the cluster.

use super::handle::{Applied, Handle, Request};
use crate::clock::Clock;
use crate::journal::{Entry, Journal, JournalError};
use ensemble::cluster::{Cluster, Command, Effect, Millis};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How many requests may wait. Each is a few kilobytes at most, and a user whose request finds no room may come back.
pub const REQUESTS_MAX: usize = 1024;

/// How many requests one sync of the journal may serve: enough to make syncs cheap, few enough to answer soon.
const ROUND_MAX: usize = 128;

/// How often time is looked at: well below a lease, so that an expired one is soon seen.
pub const TICK_EVERY: Duration = Duration::from_millis(250);

/// Acts on effects. It must not wait for anything, least of all for the driver.
pub trait Act: Send {
    /// Does, or starts to do, what the effect says.
    fn act(&mut self, effect: Effect);
}

/// The one owner of the cluster.
pub struct Driver {
    cluster: Cluster,
    clock: Clock,
    journal: Box<dyn Journal>,
    actor: Box<dyn Act>,
    changes: watch::Sender<u64>,
}

/// What one round has gathered, in the order of the requests.
#[derive(Default)]
struct Round {
    entries: Vec<Entry>,
    answers: Vec<Answer>,
    effects: Vec<Effect>,
    stop: bool,
}

enum Answer {
    Applied(oneshot::Sender<Applied>, Applied),
    Inspect(Box<dyn FnOnce(&Cluster) + Send>),
}

/// Starts the driver on a thread of its own, because the journal's syncs block. The thread ends when it is told to stop
/// or when the journal fails, which the receiver then tells.
pub fn spawn(
    cluster: Cluster,
    clock: Clock,
    journal: Box<dyn Journal>,
    actor: impl FnOnce(&Handle) -> Box<dyn Act>,
) -> std::io::Result<(Handle, oneshot::Receiver<Result<(), JournalError>>)> {
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let (changes, changed) = watch::channel(0);
    let handle = Handle { requests: sender, changes: changed };
    let actor = actor(&handle);
    let driver = Driver { cluster, clock, journal, actor, changes };
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("driver".into()).spawn(move || end.send(driver.run(requests)))?;
    tokio::spawn(tick(handle.clone()));
    Ok((handle, ended))
}

async fn tick(handle: Handle) {
    let mut interval = tokio::time::interval(TICK_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        if handle.tick().is_err() {
            return;
        }
    }
}

impl Driver {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), JournalError> {
        let mut waiting = Vec::with_capacity(ROUND_MAX);
        while requests.blocking_recv_many(&mut waiting, ROUND_MAX) > 0 {
            if self.round(&mut waiting)? {
                break;
            }
        }
        Ok(())
    }

    /// One round, in the order that the page above states. Says whether to stop.
    fn round(&mut self, waiting: &mut Vec<Request>) -> Result<bool, JournalError> {
        let mut round = Round::default();
        for request in waiting.drain(..) {
            self.take(request, &mut round);
        }
        if !round.entries.is_empty() {
            self.journal.append(&round.entries)?;
        }
        round.answers.into_iter().for_each(|answer| self.answer(answer));
        round.effects.into_iter().for_each(|effect| self.actor.act(effect));
        if !round.entries.is_empty() {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(round.stop)
    }

    fn take(&mut self, request: Request, round: &mut Round) {
        match request {
            Request::Apply { command, answer } => {
                let now = self.clock.now();
                let result = self.apply(*command, now, round);
                round.answers.push(Answer::Applied(answer, result));
            }
            Request::Inspect(look) => round.answers.push(Answer::Inspect(look)),
            Request::Tick => self.tick(round),
            Request::Stop => round.stop = true,
        }
    }

    fn apply(&mut self, command: Command, now: Millis, round: &mut Round) -> Applied {
        let effects = self.cluster.apply(now, command.clone())?;
        if !matches!(command, Command::Heartbeat { .. }) {
            round.entries.push(Entry { at: now, command });
        }
        let accepted = effects.iter().find_map(|effect| match effect {
            Effect::Accepted { job } => Some(job.clone()),
            _ => None,
        });
        round.effects.extend(effects);
        Ok(accepted)
    }

    fn tick(&mut self, round: &mut Round) {
        let now = self.clock.now();
        for command in self.cluster.due(now) {
            self.apply(command, now, round).expect("what is due fits what the cluster knows");
        }
    }

    fn answer(&self, answer: Answer) {
        match answer {
            // Whoever asked may have gone; what was done is done.
            Answer::Applied(asker, result) => drop(asker.send(result)),
            Answer::Inspect(look) => look(&self.cluster),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::driver::replay;
    use crate::journal::ReplayError;
    use ensemble::cluster::{Rejection, Settings, Slot};
    use ensemble::id::{JobId, WorkerId};
    use ensemble::job::Job;
    use std::sync::{Arc, Mutex};

    /// What happened, in order.
    type Trace = Arc<Mutex<Vec<String>>>;

    /// A journal in memory, that may fail.
    struct Memory {
        entries: Arc<Mutex<Vec<Entry>>>,
        trace: Trace,
        full: bool,
    }

    impl Journal for Memory {
        fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
            self.trace.lock().unwrap().push(format!("journal {}", entries.len()));
            if self.full {
                return Err(JournalError::Failed { path: "memory".into(), detail: "no space left".into() });
            }
            self.entries.lock().unwrap().extend_from_slice(entries);
            Ok(())
        }

        fn replay(&mut self, each: &mut dyn FnMut(Entry) -> Result<(), ReplayError>) -> Result<(), JournalError> {
            self.entries.lock().unwrap().iter().cloned().for_each(|entry| each(entry).unwrap());
            Ok(())
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
        trace: Trace,
        entries: Arc<Mutex<Vec<Entry>>>,
    }

    impl Bench {
        fn new(full: bool) -> Self {
            let (trace, entries) = (Trace::default(), Arc::default());
            let journal = Memory { entries: Arc::clone(&entries), trace: trace.clone(), full };
            let driver = Driver {
                cluster: Cluster::new(Settings::default()),
                clock: Clock::not_before(0),
                journal: Box::new(journal),
                actor: Box::new(Noting(trace.clone())),
                changes: watch::channel(0).0,
            };
            Self { driver, trace, entries }
        }

        /// One round of commands; whether each was answered by the time of the next step is in the trace.
        fn round(&mut self, commands: &[Command]) -> (Result<bool, JournalError>, Vec<Option<Applied>>) {
            let ask = |command: &Command| {
                let (answer, answered) = oneshot::channel();
                (Request::Apply { command: Box::new(command.clone()), answer }, answered)
            };
            let (mut requests, answers): (Vec<_>, Vec<_>) = commands.iter().map(ask).unzip();
            let end = self.driver.round(&mut requests);
            (end, answers.into_iter().map(|mut answer| answer.try_recv().ok()).collect())
        }

        fn trace(&self) -> Vec<String> {
            std::mem::take(&mut self.trace.lock().unwrap())
        }
    }

    fn submit() -> Command {
        let file = "name: shapes\ndata: {format: idx, path: /data}\nmodel: {architecture: mlp}\n\
                    train: {epochs: 1}\nmembers: [{seeds: {count: 2}}]";
        Command::Submit { key: "once".into(), job: Box::new(Job::parse(file, &[]).unwrap()) }
    }

    fn join() -> Command {
        Command::Join { worker: WorkerId::new("w"), slots: vec![Slot { index: 0, device: "cpu".into(), holds: None }] }
    }

    fn ready() -> Command {
        Command::Ready { worker: WorkerId::new("w"), slot: 0 }
    }

    #[test]
    fn effects_follow_the_journal_and_rejections_are_no_history() {
        let mut bench = Bench::new(false);
        let cancel = Command::Cancel { job: JobId::new("nothing-7") };
        let (end, answers) = bench.round(&[submit(), cancel, join(), ready()]);
        assert!(!end.unwrap());
        assert_eq!(bench.trace(), ["journal 3", "accept shapes-1", "grant shapes-1/train/0"]);
        let rejected = Rejection::UnknownJob(JobId::new("nothing-7"));
        let accepted = Some(Ok(Some(JobId::new("shapes-1"))));
        assert_eq!(answers, [accepted, Some(Err(rejected)), Some(Ok(None)), Some(Ok(None))]);
    }

    #[test]
    fn a_journal_that_fails_ends_the_driver_without_an_answer_or_an_effect() {
        let mut bench = Bench::new(true);
        let (end, answers) = bench.round(&[submit()]);
        assert!(end.unwrap_err().to_string().contains("no space left"));
        assert_eq!((bench.trace(), answers), (vec!["journal 1".to_owned()], vec![None]));
    }

    #[test]
    fn heartbeats_are_not_journalled_and_what_silence_brings_is() {
        let mut bench = Bench::new(false);
        bench.round(&[submit(), join(), ready()]).0.unwrap();
        bench.trace();
        bench.round(&[Command::Heartbeat { worker: WorkerId::new("w") }]).0.unwrap();
        assert_eq!(bench.trace(), Vec::<String>::new());
        bench.driver.clock = Clock::not_before(bench.driver.clock.now() + Settings::default().lease_ms);
        bench.driver.round(&mut vec![Request::Tick]).unwrap();
        assert_eq!(bench.trace(), ["journal 1", "Lost { worker: WorkerId(\"w\") }"]);
    }

    #[test]
    fn replay_brings_the_same_state_back() {
        let mut bench = Bench::new(false);
        bench.round(&[submit(), join(), ready(), Command::Heartbeat { worker: WorkerId::new("w") }]).0.unwrap();
        bench.driver.clock = Clock::not_before(bench.driver.clock.now() + Settings::default().lease_ms);
        bench.driver.round(&mut vec![Request::Tick]).unwrap();
        bench.round(&[join(), ready()]).0.unwrap();
        let mut journal = Memory { entries: bench.entries.clone(), trace: Trace::default(), full: false };
        let restored = replay(Settings::default(), &mut journal).unwrap();
        assert_eq!(restored.entries, 6);
        let job = JobId::new("shapes-1");
        assert_eq!(restored.cluster.tasks(&job), bench.driver.cluster.tasks(&job));
        assert_eq!(restored.cluster.jobs(), bench.driver.cluster.jobs());
        assert_eq!(restored.cluster.workers(), bench.driver.cluster.workers());
    }
}
