//! The books: what was promised, told and done, kept outside the cluster so that it can be held to it.

use super::coordinator::Reply;
use super::users::Answer;
use ensemble::cluster::{Cluster, Command, Effect, LeaseKey, LeaveReason, Rejection};
use ensemble::id::{JobId, TaskId, WorkerId};
use ensemble::view::Phase;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Ledger {
    /// Whether requests may still be lost.
    pub faults_go_on: bool,
    /// How many workers there are.
    pub size: usize,
    /// How often the cluster has changed, and whether it has since the world last looked.
    pub changes: u64,
    pub changed: bool,
    /// Whether an artifact was ever said to be damaged: then what was done is done again.
    pub damaged: bool,
    /// Grants that were told to workers since the world was last looked through.
    pub new_grants: Vec<Told>,
    /// What users were promised: the job of each key, and which jobs are cancelled.
    submitted: BTreeMap<String, JobId>,
    cancelled: BTreeSet<JobId>,
    /// The newest grant of each task that a worker was told of. What was never told may be forgotten by a crash.
    told: BTreeMap<TaskId, Told>,
    /// What workers were told to stop.
    revoked: BTreeSet<(WorkerId, TaskId, u32)>,
    /// What silent workers lost. They cannot be told, and must know by themselves.
    unheard: BTreeSet<(WorkerId, TaskId, u32)>,
    /// Which process brought results under an attempt.
    brought: BTreeMap<(TaskId, u32), (usize, u64)>,
    /// As the coordinator's process that is running now has it.
    now: Epoch,
}

/// What one process of the coordinator has decided so far.
#[derive(Debug, Default)]
pub struct Epoch {
    /// The newest attempt of each task.
    pub attempts: BTreeMap<TaskId, u32>,
    pub done: BTreeSet<TaskId>,
    pub ended: BTreeSet<JobId>,
    /// Slots that asked for a task and have none.
    pub waiting: BTreeSet<(WorkerId, u32)>,
    /// Leases that their workers were asked for, in the sessions that they have now.
    pub asked_for: BTreeSet<(TaskId, u32)>,
    /// Reports that were taken.
    taken: BTreeSet<(u64, u64)>,
}

/// A grant that a worker was told of.
#[derive(Clone, Debug)]
pub struct Told {
    pub lease: LeaseKey,
    pub worker: WorkerId,
}

impl Ledger {
    pub fn new(workers: usize) -> Self {
        Self { faults_go_on: true, size: workers, ..Self::default() }
    }

    pub fn epoch(&mut self) -> &mut Epoch {
        &mut self.now
    }

    /// A user was answered.
    pub fn promised(&mut self, command: &Command, answer: &Answer) {
        match (command, answer) {
            (Command::Submit { key, .. }, Answer::Done(Some(job))) => {
                let known = self.submitted.entry(key.clone()).or_insert_with(|| job.clone());
                assert!(known == job, "invariant_a_key_is_one_job: {key} is {known} and {job}");
            }
            (Command::Cancel { job }, Answer::Done(_)) => drop(self.cancelled.insert(job.clone())),
            _ => {}
        }
    }

    /// A process of the coordinator has its state back from the disk.
    pub fn recovered(&mut self, cluster: &Cluster) {
        self.invariant_what_was_promised_is_remembered(cluster);
        self.invariant_what_was_told_is_remembered(cluster);
        self.now = Epoch::default();
        self.changed = true;
        for job in cluster.jobs().into_iter().filter(|job| job.phase != Phase::Running) {
            self.now.ended.insert(job.id);
        }
    }

    pub fn invariant_what_was_promised_is_remembered(&self, cluster: &Cluster) {
        for (key, job) in &self.submitted {
            assert!(cluster.job(job).is_ok(), "invariant_what_was_promised_is_remembered: {key} was {job}");
        }
        for job in &self.cancelled {
            let phase = cluster.job(job).map(|view| view.phase);
            let over = phase == Ok(Phase::Cancelled);
            assert!(over, "invariant_what_was_promised_is_remembered: {job} was cancelled and is {phase:?}");
        }
    }

    fn invariant_what_was_told_is_remembered(&self, cluster: &Cluster) {
        let jobs: BTreeSet<_> = self.told.keys().filter_map(TaskId::job).collect();
        let tasks = jobs.iter().flat_map(|job| cluster.tasks(job).unwrap_or_default());
        let attempts: BTreeMap<_, _> = tasks.map(|task| (task.id, task.attempt)).collect();
        for (task, told) in &self.told {
            let known = attempts.get(task).copied().unwrap_or(0);
            let remembered = known >= told.lease.attempt;
            assert!(remembered, "invariant_what_was_told_is_remembered: {task} is at {known}, {told:?}");
        }
    }

    /// A command was applied.
    pub fn applied(&mut self, command: &Command, reply: &Reply, applied: &Result<Vec<Effect>, Rejection>) {
        let effects = match applied {
            Ok(effects) => effects,
            Err(rejection) => return invariant_nobody_talks_nonsense(command, rejection),
        };
        if !matches!(command, Command::Heartbeat { .. }) {
            self.changed = true;
            self.changes += 1;
        }
        self.damaged |= matches!(command, Command::ReportDamaged { .. });
        if let Some(lease) = claimed(command) {
            self.invariant_only_the_newest_attempt_counts(command, lease);
            self.invariant_an_attempt_is_one_process(lease, reply);
        }
        if let &Reply::Report { process, number, .. } = reply {
            let again = !self.now.taken.insert((process, number));
            let nothing = effects.is_empty() || matches!(command, Command::ReportDamaged { .. });
            assert!(!again || nothing, "invariant_a_repeated_report_does_nothing: {command:?}: {effects:?}");
        }
        if matches!(command, Command::Leave { reason: LeaveReason::Silent, .. }) {
            self.unheard.extend(effects.iter().filter_map(revoked));
        }
        self.count_waiting(command);
        effects.iter().for_each(|effect| self.followed(effect));
    }

    /// A result is taken under the newest grant of its task, or, said twice, under the one that did it.
    fn invariant_only_the_newest_attempt_counts(&self, command: &Command, lease: &LeaseKey) {
        let newest = self.now.attempts.get(&lease.task).copied().unwrap_or(0);
        let newest = newest.max(self.told.get(&lease.task).map_or(0, |told| told.lease.attempt));
        let counts = lease.attempt == newest;
        assert!(counts, "invariant_only_the_newest_attempt_counts: {command:?} was taken, at attempt {newest}");
    }

    fn invariant_an_attempt_is_one_process(&mut self, lease: &LeaseKey, reply: &Reply) {
        let &Reply::Report { worker, process, .. } = reply else { return };
        let by = self.brought.entry((lease.task.clone(), lease.attempt)).or_insert((worker, process));
        assert!(*by == (worker, process), "invariant_an_attempt_is_one_process: {lease:?} by {by:?} and w{worker}");
        let told = self.told.get(&lease.task).filter(|told| told.lease.attempt == lease.attempt);
        let rightly = told.is_some_and(|told| told.worker.as_str() == format!("w{worker}"));
        assert!(rightly, "invariant_an_attempt_is_one_process: {lease:?} was w{worker}'s, not {told:?}");
    }

    fn count_waiting(&mut self, command: &Command) {
        match command {
            Command::Ready { worker, slot } => drop(self.now.waiting.insert((worker.clone(), *slot))),
            Command::Join { worker, slots } => {
                self.now.waiting.retain(|(waiting, _)| waiting != worker);
                for lease in slots.iter().filter_map(|slot| slot.holds.as_ref()) {
                    self.now.asked_for.remove(&(lease.task.clone(), lease.attempt));
                }
            }
            Command::Leave { worker, .. } => self.now.waiting.retain(|(waiting, _)| waiting != worker),
            Command::Resume { sessions_ended: true } => self.now.waiting.clear(),
            _ => {}
        }
    }

    fn followed(&mut self, effect: &Effect) {
        match effect {
            Effect::Grant { worker, slot, lease, .. } => {
                let ended = lease.task.job().is_none_or(|job| self.now.ended.contains(&job));
                assert!(!ended || self.damaged, "invariant_nothing_is_granted_after_the_end: {lease:?}");
                let before = self.now.attempts.insert(lease.task.clone(), lease.attempt).unwrap_or(0);
                assert!(before < lease.attempt, "invariant_attempts_grow: {lease:?} after {before}");
                self.now.waiting.remove(&(worker.clone(), *slot));
            }
            Effect::Yield { lease, .. } => {
                let first = self.now.asked_for.insert((lease.task.clone(), lease.attempt));
                assert!(first, "invariant_a_lease_is_asked_for_once_a_session: {lease:?}");
            }
            Effect::JobEnded { job } => {
                let first = self.now.ended.insert(job.clone());
                assert!(first, "invariant_a_job_ends_once: {job}");
            }
            _ => {}
        }
    }

    /// Whether a worker was told to stop, though it may not have heard it yet.
    pub fn is_revoked(&self, worker: &WorkerId, lease: &LeaseKey) -> bool {
        self.revoked.contains(&(worker.clone(), lease.task.clone(), lease.attempt))
    }

    /// An effect that is durable was acted on.
    pub fn acted(&mut self, effect: &Effect) {
        self.revoked.extend(revoked(effect).filter(|revoked| !self.unheard.contains(revoked)));
        let Effect::Grant { worker, lease, .. } = effect else { return };
        let told = Told { lease: lease.clone(), worker: worker.clone() };
        let before = self.told.insert(lease.task.clone(), told.clone());
        let grows = before.as_ref().is_none_or(|before| before.lease.attempt < lease.attempt);
        assert!(grows, "invariant_nothing_is_granted_twice: {lease:?} to {worker} after {before:?}");
        self.new_grants.push(told);
    }
}

fn revoked(effect: &Effect) -> Option<(WorkerId, TaskId, u32)> {
    match effect {
        Effect::Revoke { worker, lease } => Some((worker.clone(), lease.task.clone(), lease.attempt)),
        _ => None,
    }
}

/// What workers and users of this world say makes sense, so it may come too late, and nothing worse.
fn invariant_nobody_talks_nonsense(command: &Command, rejection: &Rejection) {
    let late = match rejection {
        Rejection::StaleLease(_) => claimed(command).is_some(),
        Rejection::JobEnded(_) => {
            matches!(command, Command::Cancel { .. } | Command::FinishAverage { .. } | Command::FinishReport { .. })
        }
        Rejection::UnknownWorker(_) => {
            matches!(command, Command::Heartbeat { .. } | Command::Ready { .. } | Command::Leave { .. })
        }
        Rejection::NoSuchWorker(_) => matches!(command, Command::Drain { .. } | Command::Reinstate { .. }),
        Rejection::Full(_) => true,
        _ => false,
    };
    assert!(late, "invariant_nobody_talks_nonsense: {command:?}: {rejection}");
}

/// The lease that a report is made under.
fn claimed(command: &Command) -> Option<&LeaseKey> {
    match command {
        Command::CommitCheckpoint { lease, .. }
        | Command::CommitModel { lease, .. }
        | Command::FinishTraining { lease }
        | Command::FinishCalibration { lease, .. }
        | Command::FinishEvaluation { lease, .. }
        | Command::Yield { lease }
        | Command::Fail { lease, .. } => Some(lease),
        _ => None,
    }
}
