//! The thread that owns the cluster.

use super::handle::{Applied, Handle, Request};
use super::patience::Patience;
use super::replay::Restored;
use crate::clock::Clock;
use crate::journal::{Entry, Journal, JournalError, Sequence, Snapshot};
use ensemble::cluster::{Cluster, Command, Effect, Millis};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How many requests may wait. Each is a few kilobytes at most, and a user whose request finds no room may come back.
pub const REQUESTS_MAX: usize = 1024;

/// How many requests one sync of the journal may serve: enough to make syncs cheap, few enough to answer soon.
const ROUND_MAX: usize = 128;

/// How many entries may lie behind the last state that was kept: a fraction of a second of replay.
pub const ENTRIES_TO_REPLAY: Sequence = 10_000;

/// How often time is looked at: well below a lease, so that an expired one is soon seen.
pub const TICK_EVERY: Duration = Duration::from_millis(250);

/// How long the driver may do nothing without calling it an absence, whatever the lease: a few ticks.
const AWAY_MIN_MS: Millis = 4 * TICK_EVERY.as_millis() as Millis;

/// Acts on effects. It must not wait for anything, least of all for the driver.
pub trait Act: Send {
    /// Does, or starts to do, what the effect says.
    fn act(&mut self, effect: Effect);
}

/// The one owner of the cluster.
pub struct Driver {
    pub(super) cluster: Cluster,
    pub(super) clock: Clock,
    pub(super) journal: Box<dyn Journal>,
    pub(super) patience: Patience,
    pub(super) actor: Box<dyn Act>,
    pub(super) changes: watch::Sender<u64>,
    /// The newest entry in the journal.
    pub(super) sequence: Sequence,
    /// When it was applied.
    pub(super) last: Millis,
    /// The entry after which the state was last kept, or should have been.
    pub(super) kept: Sequence,
    /// When the clock was last looked at.
    pub(super) awake: Millis,
}

/// How a driver ends: by itself only when its journal is lost to it for good.
pub type Ended = oneshot::Receiver<Result<(), JournalError>>;

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

/// Where the driver runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On a thread of its own, because the journal's syncs block.
    #[default]
    Thread,
    /// On the caller's runtime, for a simulation that must decide who runs when.
    Task,
}

/// Starts the driver. It ends when it is told to stop, when the journal fails for good, or when it is given up while the
/// journal fails; the receiver tells which.
pub fn spawn(
    place: Place,
    restored: Restored,
    journal: Box<dyn Journal>,
    give_up: CancellationToken,
    actor: impl FnOnce(&Handle) -> Box<dyn Act>,
) -> std::io::Result<(Handle, Ended)> {
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let ((changes, changed), (stall, stalled)) = (watch::channel(0), watch::channel(None));
    let handle = Handle { requests: sender, changes: changed, stall: stalled };
    let driver = Driver::new(restored, journal, Patience::new(stall, give_up), actor(&handle), changes);
    let (end, ended) = oneshot::channel();
    match place {
        Place::Thread => {
            std::thread::Builder::new().name("driver".into()).spawn(move || end.send(driver.run(requests)))?;
        }
        Place::Task => drop(tokio::spawn(async move { end.send(driver.run_on_task(requests).await) })),
    }
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
    pub(super) fn new(
        restored: Restored,
        journal: Box<dyn Journal>,
        patience: Patience,
        actor: Box<dyn Act>,
        changes: watch::Sender<u64>,
    ) -> Self {
        let Restored { cluster, sequence, last, kept, .. } = restored;
        let clock = Clock::not_before(last);
        let awake = clock.now();
        Self { cluster, clock, journal, patience, actor, changes, sequence, last, kept, awake }
    }

    fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), JournalError> {
        let mut waiting = Vec::with_capacity(ROUND_MAX);
        while requests.blocking_recv_many(&mut waiting, ROUND_MAX) > 0 {
            if self.round(&mut waiting)? {
                break;
            }
        }
        Ok(())
    }

    async fn run_on_task(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), JournalError> {
        let mut waiting = Vec::with_capacity(ROUND_MAX);
        while requests.recv_many(&mut waiting, ROUND_MAX).await > 0 {
            if self.round(&mut waiting)? {
                break;
            }
        }
        Ok(())
    }

    /// One round, in the order that the page above states. Says whether to stop.
    pub(super) fn round(&mut self, waiting: &mut Vec<Request>) -> Result<bool, JournalError> {
        let mut round = Round::default();
        for request in waiting.drain(..) {
            self.take(request, &mut round);
        }
        self.record(&round.entries)?;
        round.answers.into_iter().for_each(|answer| self.answer(answer));
        round.effects.into_iter().for_each(|effect| self.actor.act(effect));
        if !round.entries.is_empty() {
            self.changes.send_modify(|count| *count += 1);
        }
        self.keep_state()?;
        Ok(round.stop)
    }

    /// Keeps the state now and then, so that a start need not replay all of history. Without it nothing is lost: a failure
    /// waits for the next time.
    fn keep_state(&mut self) -> Result<(), JournalError> {
        if self.sequence - self.kept < ENTRIES_TO_REPLAY {
            return Ok(());
        }
        self.kept = self.sequence;
        let state = serde_json::to_string(&self.cluster.snapshot()).expect("the state is maps with string keys");
        let snapshot = Snapshot { sequence: self.sequence, at: self.last, state };
        match self.journal.keep_snapshot(&snapshot) {
            Err(deposed @ JournalError::Deposed { .. }) => return Err(deposed),
            Err(error) => {
                tracing::warn!(%error, "the state could not be kept; the next start replays more of the journal")
            }
            Ok(()) => {}
        }
        Ok(())
    }

    fn record(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if !entries.is_empty() {
            let first = self.sequence + 1;
            self.patience.insist(|| self.journal.append(first, entries))?;
            self.sequence += entries.len() as Sequence;
            self.last = entries.last().map_or(self.last, |entry| entry.at);
        }
        Ok(())
    }

    fn take(&mut self, request: Request, round: &mut Round) {
        match request {
            Request::Apply { command, answer } => {
                let now = self.look_at_clock(round);
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

    /// The time. If this driver was not running for long, it is told so first: then it is not the workers' silence that
    /// was long, but its own deafness.
    fn look_at_clock(&mut self, round: &mut Round) -> Millis {
        let now = self.clock.now();
        let away = now - self.awake;
        self.awake = now;
        if away > AWAY_MIN_MS.max(self.cluster.settings().lease_ms / 3) {
            tracing::warn!(away_ms = away, "the coordinator was not running; no worker loses its leases for that");
            let resume = Command::Resume { sessions_ended: false };
            self.apply(resume, now, round).expect("nothing speaks against going on");
        }
        now
    }

    fn tick(&mut self, round: &mut Round) {
        let now = self.look_at_clock(round);
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
