//! The control plane as a state machine: commands in, effects out.
//!
//! [`Cluster`] knows jobs, workers and the leases between them, and nothing of streams, files or clocks. Whoever drives it
//! owns the one `Cluster`, and does for each command, in this order: apply it, write it to the journal, answer whoever
//! sent it, act on its effects.
//!
//! ```text
//!   users     ── Submit, Cancel ──────────────▶ ┌─────────┐ ── Grant, Yield, Revoke ──▶ workers
//!   workers   ── Join, Ready, Finish…, Fail … ─▶│ Cluster │ ── Average, Combine ──────▶ the coordinator itself
//!   operators ── Drain, SetShare, Pin … ───────▶│         │ ── Accepted, JobEnded ────▶ users
//!   time      ── due() ────────────────────────▶└─────────┘
//! ```
//!
//! # Where to look
//! - A **worker** is connected, unknown or gone, and active, draining or set aside: `worker`. It comes, goes and comes
//!   back with what it holds in `sessions`; it loses and regains the right to tasks in `standing`.
//! - A **task** is blocked, ready, paused, leased, done, failed or withdrawn: `task`. Leases begin and end in `grants`,
//!   and only the newest attempt may speak: `claims`. What workers bring is taken in `results`, and what went wrong is
//!   judged by budgets in `restart`.
//! - **Who is next**: by priority, then by the namespaces' `shares`, then by age: `ready`, matched with waiting slots in
//!   `queue`. What is urgent takes slots from what is not: `preemption`.
//! - A **job** is what its runs, models and members make of it: `job`, which knows no workers.
//!
//! Every command is handled in two steps: first what it says is carried out, then free slots are given away. So nothing is
//! granted before everything that the command takes back is back.
//!
//! # Time and replay
//! Nothing happens because a clock was read. [`Cluster::due`] says what time has brought about, as commands like any
//! other: a worker that fell silent leaves ([`LeaveReason::Silent`]), a task's pause ends ([`Command::Retry`]). Whoever
//! keeps a journal writes these too, and then applying the journal's commands again with their times gives the same
//! state, whenever and however often `due` was asked before. Heartbeats need no place in the journal: they move nothing
//! but the moment at which `due` names a worker. [`Cluster::tick`] applies what is due at once; a journal of ticks is as
//! good, if it has the heartbeats before them too. A tick without effects has changed nothing.

mod chores;
mod claims;
mod command;
mod grants;
mod job;
mod preemption;
mod queue;
mod ready;
mod restart;
mod results;
mod retention;
mod sessions;
mod settings;
mod shares;
mod snapshot;
mod standing;
mod task;
mod users;
mod views;
mod waiting;
mod worker;
mod workers;

pub use command::{
    AverageOutcome, Command, Effect, Evaluated, EvaluationScores, Failure, FailureClass, LeaseKey, LeaveReason, Millis,
    Rejection, ReportOutcome, Slot, TrainRun, Work,
};
pub use settings::{
    CHECKPOINTS_PER_RUN, JOBS_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, NAMESPACES_MAX, RUNS_TOTAL_MAX, SLOTS_MAX,
    Settings, WEIGHT_MAX, WORKERS_MAX,
};

use crate::id::{Digest, JobId};
use job::JobState;
use preemption::Preemptible;
use queue::Queue;
use std::collections::{BTreeMap, BTreeSet};
use workers::Workers;

/// All jobs and workers of a cluster, and who is at what.
///
/// A decision costs the logarithm of what the cluster holds: nothing looks through all tasks or all workers. Only a job's
/// end looks through that job's tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    settings: Settings,
    /// By number, in the order of submission.
    jobs: Vec<JobState>,
    /// The number of each job.
    numbers: BTreeMap<JobId, u32>,
    /// The job that each idempotency key stands for.
    keys: BTreeMap<String, u32>,
    /// Runs of all jobs, those that are reserved for winners included.
    runs: usize,
    workers: Workers,
    queue: Queue,
    preemptible: Preemptible,
    /// How many grants there were.
    grants: u64,
    /// Artifacts that are kept whoever refers to them.
    pins: BTreeSet<Digest>,
}

impl Cluster {
    /// A cluster without jobs and workers.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            jobs: Vec::new(),
            numbers: BTreeMap::new(),
            keys: BTreeMap::new(),
            runs: 0,
            workers: Workers::default(),
            queue: Queue::default(),
            preemptible: Preemptible::default(),
            grants: 0,
            pins: BTreeSet::new(),
        }
    }

    /// How the cluster judges workers and tasks.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Lets something happen. Together with [`Cluster::tick`], which is made of it, the only way that anything changes.
    ///
    /// # Errors
    /// When the command does not fit what the cluster knows. Then nothing has changed.
    pub fn apply(&mut self, now: Millis, command: Command) -> Result<Vec<Effect>, Rejection> {
        let mut effects = self.handle(now, command)?;
        self.assign(&mut effects);
        Ok(effects)
    }

    fn handle(&mut self, now: Millis, command: Command) -> Result<Vec<Effect>, Rejection> {
        match command {
            Command::Submit { key, job } => self.handle_submit(now, key, job),
            Command::Cancel { job } => self.handle_cancel(now, &job),
            Command::Join { worker, slots } => self.handle_join(now, worker, slots),
            Command::Leave { worker, reason } => self.handle_leave(now, &worker, reason),
            Command::Resume { sessions_ended } => Ok(self.handle_resume(now, sessions_ended)),
            Command::Heartbeat { worker } => self.handle_heartbeat(now, &worker),
            Command::Ready { worker, slot } => self.handle_ready(&worker, slot),
            Command::CommitCheckpoint { lease, run, step, artifact, branch } => {
                self.handle_commit_checkpoint(now, &lease, run, step, artifact, branch)
            }
            Command::CommitModel { lease, run, kind, artifact, batch_norm } => {
                self.handle_commit_model(now, &lease, run, kind, artifact, batch_norm)
            }
            Command::FinishTraining { lease } => self.handle_finish_training(now, &lease),
            Command::FinishCalibration { lease, artifact } => self.handle_finish_calibration(now, &lease, artifact),
            Command::FinishEvaluation { lease, predictions, scores } => {
                self.handle_finish_evaluation(now, &lease, predictions, scores)
            }
            Command::Yield { lease } => self.handle_yield(now, &lease),
            Command::Fail { lease, failure } => self.handle_fail(now, &lease, &failure),
            Command::Retry { failed } => self.handle_retry(now, &failed),
            Command::FinishAverage { job, average, outcome } => self.handle_finish_average(now, &job, average, outcome),
            Command::FinishReport { job, outcome } => self.handle_finish_report(now, &job, outcome),
            Command::Drain { worker } => self.handle_drain(&worker),
            Command::Reinstate { worker } => self.handle_reinstate(&worker),
            Command::SetShare { namespace, weight } => self.handle_set_share(&namespace, weight),
            Command::Pin { digest } => Ok(self.handle_pin(digest)),
            Command::Unpin { digest } => Ok(self.handle_unpin(&digest)),
            Command::ReportDamaged { digest } => Ok(self.handle_report_damaged(now, &digest)),
        }
    }

    /// Applies all that is due at `now`. Without effects, nothing has changed.
    pub fn tick(&mut self, now: Millis) -> Vec<Effect> {
        let due = self.due(now);
        let apply = |command| self.apply(now, command).expect("what is due fits what the cluster knows");
        due.into_iter().flat_map(apply).collect()
    }

    /// What time has brought about by `now`, to be applied in this order: workers that were silent for a whole lease
    /// leave, and pauses after failures end.
    pub fn due(&self, now: Millis) -> Vec<Command> {
        let silent = now.checked_sub(self.settings.lease_ms).map(|until| self.workers.silent_since(until));
        let leave = |worker: &_| Command::Leave { worker: Clone::clone(worker), reason: LeaveReason::Silent };
        let retry = |key| Command::Retry { failed: self.newest_grant(key) };
        silent.into_iter().flatten().map(leave).chain(self.queue.pauses_over(now).map(retry)).collect()
    }

    /// The earliest moment at which something is due, if nothing else happens before.
    pub fn next_due(&self) -> Option<Millis> {
        let silence = self.workers.longest_silent().map(|heard| heard.saturating_add(self.settings.lease_ms));
        silence.into_iter().chain(self.queue.next_pause_end()).min()
    }
}
