//! The driver: applies in rounds, then writes, then answers, then acts, as `coordinator::driver` does.

use super::super::agenda::Time;
use super::super::defect::Defect;
use super::super::env::Env;
use super::super::faults::Fault;
use super::super::history;
use super::super::invariants;
use super::super::journal::{Entry, Snapshot};
use super::super::random::Random;
use super::super::users::{self, Answer};
use super::{Coordinator, Wake};
use ensemble::cluster::{Cluster, Command, Effect, LeaseKey, Millis, Rejection, Settings};

/// How many requests one sync of the journal may serve.
const ROUND_MAX: usize = 128;
/// More requests than this do not wait; users are told to come back.
const REQUESTS_MAX: usize = 1024;
/// How long a sync takes, in milliseconds.
const SYNC: (Time, Time) = (0, 8);
/// How many entries are left to a replay, in a small world.
const SNAPSHOT_AFTER: usize = 40;
/// In worlds of more workers than this, a whole replay takes too long to be compared every time.
const SMALL: usize = 100;
/// How soon a write that failed is tried again.
const WRITE_AGAIN: Time = 500;

/// What the driver is asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// To apply a command, for whoever waits for what comes of it.
    Apply { command: Box<Command>, reply: Reply },
    /// To say, when its turn comes, that a lease does not count.
    Refuse { lease: LeaseKey, reply: Reply },
    /// To apply what is due.
    Tick,
}

/// Who waits.
#[derive(Clone, Debug)]
pub enum Reply {
    None,
    /// The coordinator itself, which has just started.
    Start,
    /// A worker that opens a session.
    Hello {
        connection: usize,
    },
    /// A worker whose heartbeat it is.
    Heartbeat {
        connection: usize,
    },
    /// A worker that reported, under a lease of its own or one that it lost.
    Report {
        connection: usize,
        worker: usize,
        process: u64,
        number: u64,
    },
    /// A user.
    User {
        call: usize,
    },
}

/// What came of a command.
type Applied = Result<Vec<Effect>, Rejection>;

/// What one round has gathered, in the order of the requests.
#[derive(Debug, Default)]
pub struct Round {
    begun: Time,
    entries: Vec<Entry>,
    answers: Vec<(Reply, Applied)>,
    effects: Vec<Effect>,
    /// Whether the disk was found full.
    waited: bool,
}

impl Coordinator {
    /// Lets a request wait for its round.
    pub fn push(&mut self, env: &mut Env, request: Request) {
        if let (Request::Apply { reply: Reply::User { call }, .. }, true) = (&request, self.inbox.len() >= REQUESTS_MAX)
        {
            return users::answer(env, *call, Answer::Busy);
        }
        self.inbox.push_back(request);
        self.awaken(env);
    }

    pub(super) fn awaken(&mut self, env: &mut Env) {
        if self.writing.is_none() && !self.inbox.is_empty() && !self.awake {
            self.awake = true;
            self.set_in(env, 0, Wake::Round);
        }
    }

    pub(super) fn begin_round(&mut self, env: &mut Env) {
        self.awake = false;
        if self.writing.is_some() {
            return;
        }
        let mut round = Round { begun: env.now, ..Round::default() };
        for _ in 0..ROUND_MAX {
            let Some(request) = self.inbox.pop_front() else { break };
            self.take(env, request, &mut round);
        }
        if env.defect == Some(Defect::AnsweredBeforeWritten) {
            self.tell(env, &mut round);
        }
        let sync = if round.entries.is_empty() { None } else { Some(env.random.within(SYNC.0, SYNC.1)) };
        self.writing = Some(round);
        match sync {
            Some(sync) => self.set_in(env, sync, Wake::Written),
            None => self.end_round(env),
        }
    }

    fn take(&mut self, env: &mut Env, request: Request, round: &mut Round) {
        let now = self.clock(env.now);
        match request {
            Request::Apply { command, reply } => {
                let applied = self.apply(env, *command, &reply, now, round);
                round.answers.push((reply, applied));
            }
            Request::Refuse { lease, reply } => round.answers.push((reply, Err(Rejection::StaleLease(lease)))),
            Request::Tick => {
                for command in self.cluster.due(now) {
                    let applied = self.apply(env, command, &Reply::None, now, round);
                    applied.expect("invariant_what_is_due_fits_what_the_cluster_knows");
                }
            }
        }
    }

    fn apply(&mut self, env: &mut Env, command: Command, reply: &Reply, now: Millis, round: &mut Round) -> Applied {
        let applied = self.cluster.apply(now, command.clone());
        let heartbeat = matches!(command, Command::Heartbeat { .. });
        if !heartbeat || applied.is_err() {
            env.note(|| history::decided(&command, &applied));
        }
        env.ledger.applied(&command, reply, &applied);
        if let (Ok(effects), false) = (&applied, heartbeat) {
            invariants::look(&self.cluster, env, &command, effects, now);
        }
        match &applied {
            Ok(effects) => round.effects.extend(effects.iter().cloned()),
            Err(Rejection::StaleLease(_)) => env.faults.strike(Fault::LateResult),
            Err(_) => {}
        }
        if applied.is_ok() && !heartbeat {
            round.entries.push(Entry { at: now, command });
        }
        applied
    }

    /// The journal has taken the round, unless its disk is full: then the round waits.
    pub(super) fn end_round(&mut self, env: &mut Env) {
        let Some(mut round) = self.writing.take() else { return };
        if !round.entries.is_empty() && env.disk.full_until > env.now {
            if !round.waited {
                env.faults.strike(Fault::DiskFull);
            }
            self.writing = Some(Round { waited: true, ..round });
            return self.set_in(env, WRITE_AGAIN, Wake::Written);
        }
        env.disk.journal.append(&round.entries);
        if env.disk.journal.tail() > SNAPSHOT_AFTER + env.ledger.size {
            let state = serde_json::to_string(&self.cluster.snapshot());
            env.disk.journal.keep_snapshot(state.expect("the state is maps with string keys, numbers and strings"));
        }
        let took = env.now - round.begun;
        self.tell(env, &mut round);
        self.was_away(env, took);
        self.set_tick(env);
        self.awaken(env);
    }

    /// Answers and acts, which is right once the round is on the disk.
    fn tell(&mut self, env: &mut Env, round: &mut Round) {
        let (answers, effects) = (std::mem::take(&mut round.answers), std::mem::take(&mut round.effects));
        answers.into_iter().for_each(|(reply, applied)| self.answer(env, reply, applied));
        effects.into_iter().for_each(|effect| self.act(env, effect));
    }

    fn answer(&mut self, env: &mut Env, reply: Reply, applied: Applied) {
        match reply {
            Reply::None => {}
            Reply::Start => self.take_up(env),
            Reply::Hello { connection } => self.welcome(env, connection, applied),
            Reply::Heartbeat { connection } => self.renewed(env, connection, &applied),
            Reply::Report { connection, worker, number, .. } => {
                self.recorded(env, connection, worker, number, &applied)
            }
            Reply::User { call } => users::answer(env, call, Answer::of(applied)),
        }
    }

    fn act(&mut self, env: &mut Env, effect: Effect) {
        env.ledger.acted(&effect);
        match effect {
            Effect::Grant { .. } | Effect::Revoke { .. } | Effect::Yield { .. } | Effect::Lost { .. } => {
                self.tell_worker(env, effect);
            }
            Effect::Average { .. } | Effect::Combine { .. } => self.begin_chore(env, effect),
            // Kept leases are in the welcome; the rest is for users to see.
            Effect::Kept { .. } | Effect::Accepted { .. } | Effect::Retried { .. } | Effect::JobEnded { .. } => {}
        }
    }

    /// The process dies while it writes: some of the round is on the disk, nobody was told, nothing was done.
    pub(super) fn lose(&mut self, env: &mut Env, round: Round, random: &mut Random) {
        if round.entries.is_empty() {
            return;
        }
        if env.disk.full_until > env.now {
            return env.faults.strike(Fault::JournalTailLost);
        }
        let tear = env.disk.journal.append_torn(&round.entries, random);
        let fault = match (tear.half, tear.lost) {
            (true, _) => Fault::JournalTailTorn,
            (false, true) => Fault::JournalTailLost,
            (false, false) => Fault::AnswerLost,
        };
        env.note(|| format!("{fault:?}, of {} entries", round.entries.len()));
        env.faults.strike(fault);
    }

    pub(super) fn tick(&mut self, env: &mut Env) {
        self.tick_at = None;
        let now = self.clock(env.now);
        if self.cluster.next_due().is_some_and(|due| due <= now) {
            self.push(env, Request::Tick);
        } else {
            self.set_tick(env);
        }
    }

    /// Sleeps until something is due, and no longer.
    fn set_tick(&mut self, env: &mut Env) {
        let Some(due) = self.cluster.next_due() else { return };
        let at = self.when(due).max(env.now + 1);
        if self.tick_at.is_none_or(|set| set > at || set <= env.now) {
            self.tick_at = Some(at);
            self.set_in(env, at - env.now, Wake::Tick);
        }
    }
}

/// The state that the disk holds, and the newest time in it. The newest snapshot and what came after it give the same as
/// everything from the beginning.
pub fn replay(env: &mut Env, settings: Settings) -> (Cluster, Millis) {
    let entries = env.disk.journal.open();
    let last = entries.last().map_or(0, |entry| entry.at);
    let Some(Snapshot { entries: taken, state }) = env.disk.journal.snapshot().cloned() else {
        return (applied_again(Cluster::new(settings), entries), last);
    };
    let restored = Cluster::restore(settings, &mut serde_json::Deserializer::from_str(&state));
    let restored = restored.unwrap_or_else(|error| panic!("invariant_a_snapshot_can_be_read: {error}"));
    let shorter = applied_again(restored, entries[taken..].to_vec());
    if env.ledger.size < SMALL {
        let whole = applied_again(Cluster::new(settings), entries);
        invariants::invariant_both_are_the_same("a snapshot with its tail, and a whole replay", &shorter, &whole);
    }
    (shorter, last)
}

fn applied_again(mut cluster: Cluster, entries: Vec<Entry>) -> Cluster {
    for Entry { at, command } in entries {
        let told = history::told(&command);
        let again = cluster.apply(at, command);
        again.unwrap_or_else(|refused| panic!("invariant_what_was_accepted_is_accepted_again: {told}: {refused}"));
    }
    cluster
}
