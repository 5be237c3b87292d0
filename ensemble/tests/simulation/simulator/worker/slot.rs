//! A worker's slots: each holds at most one lease, and an engine that works it off.

use super::super::defect::Defect;
use super::super::env::Env;
use super::super::training::{Engine, Product, inputs};
use super::super::wire::{FromWorker, Report};
use super::outbox::Outbox;
use super::{Time, Wake, Worker};
use ensemble::cluster::{Command, Failure, FailureClass, LeaseKey, Work};
use ensemble::id::Digest;
use std::collections::VecDeque;

/// How long moving an artifact takes, in milliseconds.
const TRANSFER: (Time, Time) = (20, 600);
/// How long to wait before a transfer is tried again.
const TRANSFER_AGAIN: Time = 1_000;

#[derive(Debug)]
pub struct Slot {
    task: Option<Task>,
    /// The lease whose last word was said last. It is held until that is recorded.
    settling: Option<LeaseKey>,
    /// Whether the session knows that the slot waits for a task.
    pub asked: bool,
}

/// A lease, and how far it is worked off.
#[derive(Debug)]
struct Task {
    lease: LeaseKey,
    work: Work,
    /// None while the inputs are fetched.
    engine: Option<Engine>,
    /// Tells the timers of this task from those of earlier ones.
    serial: u64,
    /// Products that are not in the store yet.
    products: VecDeque<Product>,
    storing: bool,
    fenced: bool,
    yielding: bool,
    /// Whether the engine has stopped, because the task is done or is to be handed back.
    stopped: bool,
}

/// A lease that a worker's engine is at.
#[derive(Clone, Debug)]
pub struct Holding {
    pub lease: LeaseKey,
    /// Whether the worker has stopped believing in it.
    pub fenced: bool,
}

impl Slot {
    pub fn idle() -> Self {
        Self { task: None, settling: None, asked: false }
    }

    pub fn is_free(&self) -> bool {
        self.task.is_none()
    }

    /// What the slot says that it holds when a session begins.
    pub fn holds(&self, outbox: &Outbox) -> Option<LeaseKey> {
        let settling = self.settling.as_ref().filter(|lease| outbox.awaits(lease));
        self.task.as_ref().map(|task| &task.lease).or(settling).cloned()
    }

    pub fn holding(&self) -> Option<Holding> {
        self.task.as_ref().map(|task| Holding { lease: task.lease.clone(), fenced: task.fenced })
    }

    pub fn fence(&mut self) {
        if let Some(task) = &mut self.task {
            task.fenced = true;
        }
    }
}

impl Worker {
    /// A session has begun: what was kept goes on, all else stops, and idle slots ask.
    pub(super) fn settle(&mut self, env: &mut Env, kept: &[LeaseKey]) {
        for slot in 0..self.slots {
            let entry = &mut self.running().slots[slot];
            match &mut entry.task {
                Some(task) if kept.contains(&task.lease) => {
                    task.fenced = false;
                    self.store_next(env, slot);
                }
                _ => entry.task = None,
            }
        }
        self.ask(env);
        self.leave_if_done(env);
    }

    /// Idle slots ask for tasks.
    fn ask(&mut self, env: &mut Env) {
        let process = self.running();
        let Some(connection) = process.open_connection().filter(|_| !process.draining) else { return };
        for (index, slot) in process.slots.iter_mut().enumerate() {
            if slot.task.is_none() && !std::mem::replace(&mut slot.asked, true) {
                env.send_up(connection, FromWorker::Ready { slot: index as u32 });
            }
        }
    }

    pub(super) fn granted(&mut self, env: &mut Env, slot: usize, lease: LeaseKey, work: Work) {
        let process = self.running();
        process.serials += 1;
        let serial = process.serials;
        let draining = process.draining;
        let entry = &mut process.slots[slot];
        assert!(
            entry.task.is_none(),
            "invariant_a_slot_is_given_one_task_at_a_time: {lease:?} beside {:?}",
            entry.task
        );
        entry.asked = false;
        entry.settling = None;
        entry.task = Some(Task {
            lease: lease.clone(),
            work,
            engine: None,
            serial,
            products: VecDeque::new(),
            storing: false,
            fenced: false,
            yielding: false,
            stopped: false,
        });
        if draining {
            return self.asked_to_yield(env, &lease);
        }
        let at = env.now + env.random.within(TRANSFER.0, TRANSFER.1);
        self.wake_at(env, at, Wake::Fetched { slot, serial });
    }

    pub(super) fn revoked(&mut self, env: &mut Env, lease: &LeaseKey) {
        for slot in &mut self.running().slots {
            if slot.task.as_ref().is_some_and(|task| task.lease == *lease) {
                slot.task = None;
            }
        }
        self.ask(env);
        self.leave_if_done(env);
    }

    /// Whether artifacts can be moved now.
    fn can_transfer(&self, env: &Env) -> bool {
        self.direct || (env.coordinator_listens && !env.network.is_cut(env.now, self.index))
    }

    pub(super) fn fetched(&mut self, env: &mut Env, slot: usize, serial: u64) {
        let reachable = self.can_transfer(env);
        let Some(task) = self.task(slot, serial).filter(|task| !task.stopped) else { return };
        let inputs = inputs(&task.work);
        if !reachable && !inputs.is_empty() {
            return self.wake_at(env, env.now + TRANSFER_AGAIN, Wake::Fetched { slot, serial });
        }
        if let Some(missing) = inputs.iter().find(|digest| env.store.get(digest).is_none()) {
            panic!("invariant_what_a_task_starts_from_is_in_the_store: {} wants {missing}", task.lease.task);
        }
        if let Some(damaged) = inputs.iter().find(|digest| env.store.read(digest).is_none()).cloned() {
            return self.report_damaged(env, slot, damaged);
        }
        let mut engine = Engine::start(&task.work, &env.store);
        if env.defect == Some(Defect::StepTwice) && !inputs.is_empty() {
            engine.step_uncounted();
        }
        task.engine = Some(engine);
        self.go_on(env, slot, serial);
    }

    /// Says what is damaged, and hands the task back: it goes on from something else.
    fn report_damaged(&mut self, env: &mut Env, slot: usize, digest: Digest) {
        let Some(task) = &mut self.running().slots[slot].task else { return };
        task.stopped = true;
        let lease = task.lease.clone();
        let report = |command, last| Report { lease: lease.clone(), command, last };
        self.report(env, slot, report(Command::ReportDamaged { digest }, false));
        self.report(env, slot, report(Command::Yield { lease: lease.clone() }, true));
    }

    fn go_on(&mut self, env: &mut Env, slot: usize, serial: u64) {
        let at = env.now + self.pace / 2 + env.random.below(self.pace);
        self.wake_at(env, at, Wake::Step { slot, serial });
    }

    pub(super) fn step(&mut self, env: &mut Env, slot: usize, serial: u64) {
        let Some(task) = self.task(slot, serial) else { return };
        if task.stopped {
            return;
        }
        let engine = task.engine.as_mut().expect("the engine steps once it has its inputs");
        task.products.extend(engine.step());
        task.stopped = engine.is_done();
        let stopped = task.stopped;
        self.store_next(env, slot);
        if !stopped {
            self.go_on(env, slot, serial);
        }
    }

    /// Begins to store the next product, or says the last word if there is none to come.
    fn store_next(&mut self, env: &mut Env, slot: usize) {
        let reachable = self.can_transfer(env);
        let Some(task) = &mut self.running().slots[slot].task else { return };
        if task.fenced || task.storing {
            return;
        }
        if task.products.is_empty() {
            if task.stopped {
                self.say_last_word(env, slot);
            }
            return;
        }
        task.storing = true;
        let serial = task.serial;
        let takes = if reachable { env.random.within(TRANSFER.0, TRANSFER.1) } else { TRANSFER_AGAIN };
        self.wake_at(env, env.now + takes, Wake::Stored { slot, serial });
    }

    pub(super) fn stored(&mut self, env: &mut Env, slot: usize, serial: u64) {
        let reachable = self.can_transfer(env);
        let Some(task) = self.task(slot, serial) else { return };
        task.storing = false;
        if task.fenced || !reachable {
            return self.store_next(env, slot);
        }
        let Some(product) = task.products.pop_front() else { return };
        let lease = task.lease.clone();
        let artifact = env.store.put(env.now, product.content());
        let report = Report { command: product.told(lease.clone(), artifact), lease, last: product.is_last() };
        self.report(env, slot, report);
        self.store_next(env, slot);
    }

    /// A training that has stored all it made says that it is done, or that it hands the task back.
    fn say_last_word(&mut self, env: &mut Env, slot: usize) {
        let Some(task) = &self.running().slots[slot].task else { return };
        let lease = task.lease.clone();
        let done = task.engine.as_ref().is_some_and(Engine::is_done) && !task.yielding;
        let command = match done {
            true => Command::FinishTraining { lease: lease.clone() },
            false => Command::Yield { lease: lease.clone() },
        };
        self.report(env, slot, Report { lease, command, last: true });
    }

    /// Numbers a report and sends it, if there is a session. With the last word, the slot is free.
    fn report(&mut self, env: &mut Env, slot: usize, report: Report) {
        env.note(|| format!("{}/{slot} reports {}", self.name, super::super::history::told(&report.command)));
        let process = self.running();
        if report.last {
            process.slots[slot].task = None;
            process.slots[slot].settling = Some(report.lease.clone());
        }
        let message = process.outbox.add(report);
        if let Some(connection) = process.open_connection() {
            env.send_up(connection, message);
        }
        self.ask(env);
    }

    pub(super) fn asked_to_yield(&mut self, env: &mut Env, lease: &LeaseKey) {
        let found =
            self.running().slots.iter().position(|slot| slot.task.as_ref().is_some_and(|task| task.lease == *lease));
        let Some(slot) = found else { return };
        self.yield_slot(env, slot);
    }

    pub(super) fn yield_all(&mut self, env: &mut Env) {
        (0..self.slots).for_each(|slot| self.yield_slot(env, slot));
    }

    fn yield_slot(&mut self, env: &mut Env, slot: usize) {
        let Some(task) = &mut self.running().slots[slot].task else { return };
        // What is done already is not handed back, but brought to its end.
        if task.stopped {
            return;
        }
        (task.stopped, task.yielding) = (true, true);
        if let Some(engine) = &task.engine {
            task.products.extend(engine.stop());
        }
        self.store_next(env, slot);
    }

    /// Whether the engine of a slot is at work.
    pub fn is_at_work(&self, slot: usize) -> bool {
        let task = self.process.as_ref().and_then(|process| process.slots[slot].task.as_ref());
        task.is_some_and(|task| task.engine.is_some() && !task.fenced && !task.stopped)
    }

    /// The engine or its device fails.
    pub fn fail(&mut self, env: &mut Env, slot: usize, class: FailureClass) {
        let Some(task) = &self.running().slots[slot].task else { return };
        let lease = task.lease.clone();
        let failure = Failure { class, message: format!("{class:?}, as planned") };
        let command = Command::Fail { lease: lease.clone(), failure };
        self.report(env, slot, Report { lease, command, last: true });
    }

    fn task(&mut self, slot: usize, serial: u64) -> Option<&mut Task> {
        self.running().slots[slot].task.as_mut().filter(|task| task.serial == serial)
    }
}
