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
