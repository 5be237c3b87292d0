//! How an attempt at a task can fail.

use crate::engine::{Ending, EngineError};
use crate::transfer::TransferError;
use proto::v1::{EngineFailed, FailureClass};
use std::path::PathBuf;

/// No longer message of a failure goes over the wire.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The engine says so.
    #[error("{}{}", .failed.message, lines_after(.failed, .last_lines))]
    Reported {
        /// What it says.
        failed: EngineFailed,
        /// What it wrote before.
        last_lines: String,
    },
    /// The engine ended in the middle of it.
    #[error("the engine ended without a word: {0}")]
    EngineLost(Ending),
    /// The engine got nowhere, and was killed.
    #[error("the engine was killed because it {why}{last_lines}")]
    Stalled {
        /// What it did or did not do, and how long.
        why: String,
        /// What it wrote before.
        last_lines: String,
    },
    /// There is no engine to do it.
    #[error(transparent)]
    NoEngine(#[from] EngineError),
    /// Something it needs or makes could not be moved.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// There is no room for its files.
    #[error("cannot use {}: {source}", .folder.display())]
    Scratch {
        /// The task's folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The lease says nothing that this version knows.
    #[error("the lease lacks `{0}`")]
    Incomplete(&'static str),
}

impl TaskError {
    /// What kind of failure this is, which decides whether it is tried again.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Reported { failed, .. } if failed.class() == FailureClass::Unspecified => FailureClass::EngineLost,
            Self::Reported { failed, .. } => failed.class(),
            Self::EngineLost(ending) => ending.class(),
            Self::Stalled { .. } => FailureClass::EngineLost,
            // The tasks before this one had an engine.
            Self::NoEngine(_) => FailureClass::Device,
            Self::Transfer(_) | Self::Scratch { .. } | Self::Incomplete(_) => FailureClass::Infrastructure,
        }
    }

    /// What is told of it, cut to what the wire takes.
    pub fn message(&self) -> String {
        let mut message = self.to_string();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message
    }

    /// Whether a disk of this host is full.
    pub fn is_full_disk(&self) -> bool {
        match self {
            Self::Reported { failed, .. } => failed.message.contains("No space left on device"),
            Self::Scratch { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}

/// A mistake in the job or its data is told with its remedy; what the engine wrote before has nothing to add.
fn lines_after<'a>(failed: &EngineFailed, last_lines: &'a str) -> &'a str {
    match failed.class() {
        FailureClass::User | FailureClass::Data => "",
        _ => last_lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_and_a_mistake_is_told_alone() {
        let reported = |class: FailureClass| TaskError::Reported {
            failed: EngineFailed { class: class.into(), message: "no".to_owned() },
            last_lines: format!("; its last lines:\n{}", "é".repeat(MESSAGE_BYTES_MAX)),
        };
        assert_eq!(reported(FailureClass::Data).message(), "no");
        let long = reported(FailureClass::Device).message();
        assert!(long.starts_with("no; its last lines:\né") && long.len() > MESSAGE_BYTES_MAX - 2, "{}", long.len());
        assert!(long.len() <= MESSAGE_BYTES_MAX);
    }
}
