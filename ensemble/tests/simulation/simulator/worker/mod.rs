//! A simulated worker: what a worker's process does with its session, its slots and its reports.

mod fence;
mod outbox;
mod session;
mod slot;

pub use slot::Holding;

use super::agenda::{Event, Time};
use super::env::Env;
use super::faults::Fault;
use ensemble::cluster::{LeaseKey, Slot as JoinSlot};
use ensemble::id::WorkerId;
use fence::Fence;
use outbox::Outbox;
use session::Session;
use slot::Slot;

/// A timer of a worker's process.
#[derive(Clone, Debug)]
pub enum Wake {
    /// Time to open a session.
    Connect,
    /// A session that was asked for has not been granted.
    Unwelcome { connection: usize },
    /// Time for a heartbeat.
    Beat { connection: usize },
    /// The fence may have fallen.
    Fence,
    /// The inputs of a task are there, or cannot be had.
    Fetched { slot: usize, serial: u64 },
    /// The engine has taken a step.
    Step { slot: usize, serial: u64 },
    /// A product is in the store.
    Stored { slot: usize, serial: u64 },
    /// A drained process has said all it had to say.
    Exit,
}

/// A worker: what stays the same when its process ends and another begins.
#[derive(Debug)]
pub struct Worker {
    pub index: usize,
    pub name: WorkerId,
    pub slots: usize,
    /// How many thousandths its clock runs faster than true time.
    pub drift: i64,
    /// How long its engines take for a step, in milliseconds.
    pub pace: Time,
    /// Whether it moves artifacts by itself, rather than through the coordinator.
    pub direct: bool,
    pub process: Option<Process>,
    /// Until when the process stands still.
    pub paused_until: Time,
    boots: u64,
}

/// A worker's process: all this is lost when it ends.
#[derive(Debug)]
pub struct Process {
    /// Drawn anew for each process.
    pub number: u64,
    session: Session,
    slots: Vec<Slot>,
    outbox: Outbox,
    fence: Fence,
    /// How often in a row no session could be opened.
    refusals: u32,
    /// Since when it has been asked to end.
    draining: bool,
    /// How many timers were set for slots, so that those of earlier tasks are told from those of this one.
    serials: u64,
}

impl Worker {
    pub fn new(index: usize, slots: usize, drift: i64, pace: Time, direct: bool) -> Self {
        let name = WorkerId::new(format!("w{index}"));
        Self { index, name, slots, drift, pace, direct, process: None, paused_until: 0, boots: 0 }
    }

    pub fn start(&mut self, env: &mut Env) {
        if self.process.is_some() {
            return;
        }
        self.boots += 1;
        let number = ((self.index as u64) << 32) | self.boots;
        self.process = Some(Process {
            number,
            session: Session::Apart,
            slots: (0..self.slots).map(|_| Slot::idle()).collect(),
            outbox: Outbox::default(),
            fence: Fence::fallen(),
            refusals: 0,
            draining: false,
            serials: 0,
        });
        env.note(|| format!("{} starts, process {number:x}", self.name));
        if self.drift != 0 {
            env.faults.strike(Fault::ClockDrift);
        }
        self.wake_at(env, env.now + 1, Wake::Connect);
    }

    /// Its process is killed. The kernel closes its connection.
    pub fn crash(&mut self, env: &mut Env) -> bool {
        let Some(process) = self.process.take() else { return false };
        env.note(|| format!("{} is killed", self.name));
        self.paused_until = 0;
        if let Some(connection) = process.session.connection() {
            env.close(connection, super::network::Side::Worker);
        }
        true
    }

    /// A timer of the process that is running now.
    pub fn wake(&mut self, env: &mut Env, wake: Wake) {
        match wake {
            Wake::Connect => self.connect(env),
            Wake::Unwelcome { connection } => self.give_up_opening(env, connection),
            Wake::Beat { connection } => self.beat(env, connection),
            Wake::Fence => self.look_at_fence(env),
            Wake::Fetched { slot, serial } => self.fetched(env, slot, serial),
            Wake::Step { slot, serial } => self.step(env, slot, serial),
            Wake::Stored { slot, serial } => self.stored(env, slot, serial),
            Wake::Exit => self.exit(env),
        }
    }

    fn exit(&mut self, env: &mut Env) {
        self.crash(env);
    }

    /// What each slot says of itself when a session begins.
    pub fn join_slots(&self, held: &[Option<LeaseKey>]) -> Vec<JoinSlot> {
        let slot = |(index, holds): (usize, &Option<LeaseKey>)| JoinSlot {
            index: index as u32,
            device: "cpu".into(),
            holds: holds.clone(),
        };
        held.iter().enumerate().map(slot).collect()
    }

    /// The leases that its engines are at, and whether it is fenced.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> + '_ {
        self.process.iter().flat_map(|process| process.slots.iter().filter_map(Slot::holding))
    }

    /// Whether its process was asked to end, and has not.
    pub fn is_draining(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.draining)
    }

    pub fn is_paused(&self, now: Time) -> bool {
        self.paused_until > now
    }

    /// A moment on this worker's clock, which runs at its own speed.
    fn local(&self, at: Time) -> Time {
        (at as i128 * (1_000 + i128::from(self.drift)) / 1_000) as Time
    }

    /// The true moment at which this worker's clock shows `local`.
    fn when(&self, local: Time) -> Time {
        (i128::from(local) * 1_000 / (1_000 + i128::from(self.drift))) as Time + 1
    }

    fn wake_at(&self, env: &mut Env, at: Time, wake: Wake) {
        let process = self.process.as_ref().expect("only a running process sets timers").number;
        env.agenda.set(at, Event::Worker { worker: self.index, process, wake });
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("messages and timers reach running processes only")
    }
}
