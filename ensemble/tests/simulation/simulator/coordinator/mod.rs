//! The simulated coordinator: the real cluster, behind a driver, sessions and chores as the real coordinator has them.

mod chores;
mod driver;
mod sessions;

pub use driver::{Reply, Request, replay};

use super::agenda::{Event, Time};
use super::env::Env;
use super::faults::Fault;
use super::network::Side;
use super::random::Random;
use driver::Round;
use ensemble::cluster::{Cluster, Command, Effect, Millis, Settings};
use sessions::Session;
use std::collections::{BTreeMap, VecDeque};

/// A timer of a coordinator's process.
#[derive(Clone, Copy, Debug)]
pub enum Wake {
    /// Requests wait.
    Round,
    /// The journal may have taken the round.
    Written,
    /// Something may be due.
    Tick,
    /// A chore is done.
    Chore { chore: u64 },
}

/// A process of the coordinator: all this is lost when it ends.
#[derive(Debug)]
pub struct Coordinator {
    /// Which process it is.
    pub epoch: u64,
    /// How much the coordinator's clock is ahead of virtual time.
    ahead: Millis,
    pub cluster: Cluster,
    inbox: VecDeque<Request>,
    /// A round that the journal is writing. Nothing else is applied meanwhile.
    writing: Option<Round>,
    /// Whether a wake for the next round is set.
    awake: bool,
    tick_at: Option<Time>,
    sessions: BTreeMap<usize, Session>,
    chores: BTreeMap<u64, Effect>,
    chores_begun: u64,
}

impl Coordinator {
    /// Starts from what is on the disk.
    pub fn start(env: &mut Env, epoch: u64, settings: Settings) -> Self {
        let (cluster, last) = replay(env, settings);
        let origin = env.disk.wall_time(env.now).max(last);
        let mut coordinator = Self {
            epoch,
            ahead: origin - env.now,
            cluster,
            inbox: VecDeque::new(),
            writing: None,
            awake: false,
            tick_at: None,
            sessions: BTreeMap::new(),
            chores: BTreeMap::new(),
            chores_begun: 0,
        };
        env.note(|| format!("the coordinator starts, process {epoch}"));
        env.coordinator_listens = true;
        env.ledger.recovered(&coordinator.cluster);
        coordinator.push(
            env,
            Request::Apply { command: Box::new(Command::Resume { sessions_ended: true }), reply: Reply::Start },
        );
        coordinator
    }

    /// The process is killed: all its connections end, and the disk keeps what was synced and maybe a little more.
    pub fn crash(mut self, env: &mut Env, random: &mut Random) {
        env.note(|| "the coordinator is killed".to_owned());
        env.faults.strike(Fault::CoordinatorCrash);
        env.coordinator_listens = false;
        if let Some(round) = self.writing.take() {
            self.lose(env, round, random);
        }
        let sessions = std::mem::take(&mut self.sessions);
        sessions.values().for_each(|session| env.close(session.connection, Side::Coordinator));
    }

    /// It stood still, or could not write, for so long.
    pub fn was_away(&mut self, env: &mut Env, for_ms: Time) {
        if for_ms > self.cluster.settings().lease_ms / 3 {
            self.inbox.push_front(Request::Apply {
                command: Box::new(Command::Resume { sessions_ended: false }),
                reply: Reply::None,
            });
            self.awaken(env);
        }
    }

    pub fn wake(&mut self, env: &mut Env, wake: Wake) {
        match wake {
            Wake::Round => self.begin_round(env),
            Wake::Written => self.end_round(env),
            Wake::Tick => self.tick(env),
            Wake::Chore { chore } => self.end_chore(env, chore),
        }
    }

    /// A user asks.
    pub fn ask(&mut self, env: &mut Env, call: usize, command: Command) {
        self.push(env, Request::Apply { command: Box::new(command), reply: Reply::User { call } });
    }

    pub fn clock(&self, now: Time) -> Millis {
        now + self.ahead
    }

    /// The moment in virtual time at which the coordinator's clock shows `at`.
    fn when(&self, at: Millis) -> Time {
        at.saturating_sub(self.ahead)
    }

    /// Whether all that was applied is on the disk.
    pub fn is_settled(&self) -> bool {
        self.writing.is_none()
    }

    fn set_in(&self, env: &mut Env, delay: Time, wake: Wake) {
        env.set_in(delay, Event::Coordinator { epoch: self.epoch, wake });
    }
}
