//! The JSON that `--output json` prints. `OUTPUT.md` documents it; a test holds the two together.

use anyhow::Result;
use proto::v1;
use serde::Serialize;
use std::io::Write;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: the shapes in cli/OUTPUT.md.
    Json,
}

/// Prints a value as indented JSON.
///
/// # Errors
/// The output cannot be written.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print_line(&serde_json::to_string_pretty(value)?)
}

/// Prints a line of results. Unlike `println!` it does not panic when the reader, `head` say, has had enough.
///
/// # Errors
/// The output cannot be written.
pub fn print_line(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

#[derive(Debug, Serialize)]
pub struct Job {
    pub id: String,
    pub name: String,
    /// `running`, `done`, `failed` or `cancelled`.
    pub phase: String,
    pub detail: String,
    pub members_ready: u32,
    pub members_total: u32,
    pub submitted_ms: u64,
    pub ended_ms: Option<u64>,
    pub served: bool,
    pub namespace: String,
    pub priority: u32,
    /// Members that failed for good while the job went on with the others.
    pub members_lost: u32,
    /// The task whose failure ended the job.
    pub failed_task: Option<String>,
}

impl From<v1::Job> for Job {
    fn from(job: v1::Job) -> Self {
        let phase = job.phase().as_str_name().trim_start_matches("JOB_PHASE_").to_lowercase();
        Self {
            phase,
            id: job.id,
            name: job.name,
            detail: job.detail,
            members_ready: job.members_ready,
            members_total: job.members_total,
            submitted_ms: job.submitted_ms,
            ended_ms: (job.ended_ms > 0).then_some(job.ended_ms),
            served: job.served,
            namespace: job.namespace,
            priority: job.priority,
            members_lost: job.members_lost,
            failed_task: (!job.failed_task.is_empty()).then_some(job.failed_task),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Member {
    pub index: u32,
    pub name: String,
    pub seed: Option<u64>,
    /// `planned`, `training`, `trained` or `evaluated`.
    pub state: String,
    pub digest: Option<String>,
    pub validation: Option<Scores>,
    pub test: Option<Scores>,
}

impl From<v1::Member> for Member {
    fn from(member: v1::Member) -> Self {
        Self {
            index: member.index,
            name: member.name,
            seed: member.seed,
            state: member.state,
            digest: (!member.digest.is_empty()).then_some(member.digest),
            validation: member.validation.map(Scores::from),
            test: member.test.map(Scores::from),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Scores {
    pub accuracy: f64,
    pub nll: f64,
    pub brier: f64,
    pub ece: f64,
    pub samples: u64,
}

impl From<v1::Scores> for Scores {
    fn from(scores: v1::Scores) -> Self {
        let v1::Scores { accuracy, nll, brier, ece, samples } = scores;
        Self { accuracy, nll, brier, ece, samples }
    }
}

#[derive(Debug, Serialize)]
pub struct Worker {
    pub id: String,
    pub connected: bool,
    /// `connected`, `unknown` or `gone`.
    pub state: String,
    /// `active`, `draining`, `drained` or `set_aside`.
    pub standing: String,
    pub last_heartbeat_ms: u64,
    pub slots: Vec<Slot>,
}

#[derive(Debug, Serialize)]
pub struct Slot {
    pub index: u32,
    pub device: String,
    pub task: Option<String>,
}

impl From<v1::Worker> for Worker {
    fn from(worker: v1::Worker) -> Self {
        let slot = |slot: v1::WorkerSlot| Slot {
            index: slot.index,
            device: slot.device,
            task: (!slot.task.is_empty()).then_some(slot.task),
        };
        Self {
            id: worker.id,
            connected: worker.connected,
            state: worker.state,
            standing: worker.standing,
            last_heartbeat_ms: worker.last_heartbeat_ms,
            slots: worker.slots.into_iter().map(slot).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Checkpoint {
    pub run: String,
    /// `checkpoint`, `snapshot`, `final` or `average`.
    pub kind: String,
    /// Finished steps of a checkpoint; a model counts none.
    pub step: Option<u64>,
    pub digest: String,
    pub bytes: u64,
    pub committed_ms: u64,
}

impl From<v1::Checkpoint> for Checkpoint {
    fn from(checkpoint: v1::Checkpoint) -> Self {
        let v1::Checkpoint { run, kind, step, digest, bytes, committed_ms } = checkpoint;
        let step = (kind == "checkpoint").then_some(step);
        Self { run, kind, step, digest, bytes, committed_ms }
    }
}

#[derive(Debug, Serialize)]
pub struct Share {
    pub namespace: String,
    pub weight: u32,
    pub slots_busy: u32,
}

impl From<v1::Share> for Share {
    fn from(share: v1::Share) -> Self {
        let v1::Share { namespace, weight, slots_busy } = share;
        Self { namespace, weight, slots_busy }
    }
}

/// What a collection of garbage removed, or would have.
#[derive(Debug, Serialize)]
pub struct Collected {
    pub removed: Vec<RemovedArtifact>,
    pub removed_bytes: u64,
    pub kept_bytes: u64,
    /// Why nothing was removed.
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct RemovedArtifact {
    pub digest: String,
    pub bytes: u64,
}

impl From<v1::CollectGarbageReply> for Collected {
    fn from(reply: v1::CollectGarbageReply) -> Self {
        let removed =
            |artifact: v1::RemovedArtifact| RemovedArtifact { digest: artifact.digest, bytes: artifact.bytes };
        Self {
            removed: reply.removed.into_iter().map(removed).collect(),
            removed_bytes: reply.removed_bytes,
            kept_bytes: reply.kept_bytes,
            reason: (!reply.reason.is_empty()).then_some(reply.reason),
        }
    }
}

/// What an ensemble says about one image.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The image's number in its file.
    pub image: usize,
    pub class: u32,
    pub class_name: String,
    pub truth: Option<u32>,
    pub probabilities: Vec<f64>,
    pub predictive_entropy: f64,
    pub mutual_information: f64,
    pub members_agreeing: u32,
    pub members_answered: u32,
    pub members_total: u32,
}
