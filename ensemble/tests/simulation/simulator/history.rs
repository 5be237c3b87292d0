//! What happened, in words, for people who look into a failure.

use super::agenda::Time;
use ensemble::cluster::{Command, Effect, LeaseKey, Rejection};
use ensemble::id::Digest;
use std::fmt::Write;

/// Lines of history. Nothing is written unless somebody wants to read it.
#[derive(Debug, Default)]
pub struct History {
    pub lines: Option<Vec<String>>,
}

impl History {
    pub fn kept() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    pub fn note(&mut self, now: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9.3}  {}", now as f64 / 1e3, line()));
        }
    }
}

/// A lease in short: `demo-1/train/0@2`.
pub fn lease(lease: &LeaseKey) -> String {
    format!("{}@{}", lease.task, lease.attempt)
}

fn short(digest: &Digest) -> &str {
    &digest.as_str()[..8]
}

/// A command in a line.
pub fn told(command: &Command) -> String {
    match command {
        Command::Submit { key, job } => format!("submit {} as {key}", job.name),
        Command::CommitCheckpoint { lease: of, run, step, artifact, branch } => {
            let mut text = format!("checkpoint {} of run {run} at {step} under {}", short(&artifact.digest), lease(of));
            branch.iter().for_each(|branch| write!(text, ", branch {branch}").expect("text takes text"));
            text
        }
        Command::CommitModel { lease: of, run, kind, artifact, .. } => {
            format!("model {} of run {run}, {kind:?}, under {}", short(&artifact.digest), lease(of))
        }
        Command::FinishTraining { lease: of } => format!("trained {}", lease(of)),
        Command::FinishCalibration { lease: of, artifact } => {
            format!("calibrated {} as {}", lease(of), short(&artifact.digest))
        }
        Command::FinishEvaluation { lease: of, predictions, .. } => {
            format!("evaluated {} as {}", lease(of), short(&predictions.digest))
        }
        Command::Yield { lease: of } => format!("yield {}", lease(of)),
        Command::Fail { lease: of, failure } => format!("failure of {}: {:?}", lease(of), failure.class),
        Command::FinishReport { job, .. } => format!("report of {job}"),
        other => format!("{other:?}"),
    }
}

/// An effect in a line.
pub fn followed(effect: &Effect) -> String {
    match effect {
        Effect::Grant { worker, slot, lease: of, .. } => format!("grant {} to {worker}/{slot}", lease(of)),
        Effect::Kept { worker, slot, lease: of } => format!("{worker}/{slot} keeps {}", lease(of)),
        Effect::Revoke { worker, lease: of } => format!("revoke {} of {worker}", lease(of)),
        Effect::Yield { worker, lease: of } => format!("ask {worker} for {}", lease(of)),
        Effect::Average { job, average, .. } => format!("average {average} of {job}"),
        Effect::Combine { job, .. } => format!("combine {job}"),
        other => format!("{other:?}"),
    }
}

/// A decision of the cluster in a line.
pub fn decided(command: &Command, applied: &Result<Vec<Effect>, Rejection>) -> String {
    let followed = match applied {
        Ok(effects) => effects.iter().map(followed).collect::<Vec<_>>().join(", "),
        Err(rejection) => format!("refused: {rejection}"),
    };
    format!("    {}  =>  {followed}", told(command))
}
