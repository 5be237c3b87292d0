//! Why an artifact did not arrive, and what to do about it.

use super::CacheError;
use artifacts::StoreError;
use ensemble::id::{Digest, InvalidDigest};
use std::io;
use std::path::PathBuf;
use tokio::task::JoinError;
use tonic::{Code, Status};

/// Why an artifact did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The coordinator refused, or could not be reached.
    #[error("cannot {verb} artifact {digest}: {} ({:?})", .status.message(), .status.code())]
    Refused {
        /// `upload` or `download`.
        verb: &'static str,
        /// The artifact.
        digest: Digest,
        /// The coordinator's answer.
        status: Box<Status>,
    },
    /// The store refused, or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator's message names no artifact.
    #[error("the coordinator names an artifact `{name}`, but {source}")]
    Unnamed {
        /// The name it gave.
        name: String,
        /// What is wrong with it.
        source: InvalidDigest,
    },
    /// The bytes are not those that the name stands for, or the cache cannot take them.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file to be uploaded cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime is shutting down.
    #[error("the transfer was given up: {0}")]
    GivenUp(#[from] JoinError),
}

/// What to do about a transfer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Wait: what keeps it from working may pass.
    Wait,
    /// Try again at once, though not for ever: bytes may have suffered on their way.
    Repeat,
    /// Try again once there is room in the cache.
    MakeRoom,
    /// None.
    None,
}

impl TransferError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused { status, .. } if is_passing(status.code()) => Remedy::Wait,
            // A file of ours that is not there does not come back.
            Self::Store(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Remedy::None,
            Self::Store(error) if error.is_passing() => Remedy::Wait,
            Self::Cache(CacheError::Damaged { .. } | CacheError::WrongSize { .. }) => Remedy::Repeat,
            Self::Cache(CacheError::Disk { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
                Remedy::MakeRoom
            }
            _ => Remedy::None,
        }
    }

    /// The artifact that the store has lost, or that is not in it as it should be.
    pub fn damaged(&self) -> Option<&Digest> {
        match self {
            Self::Refused { status, digest, .. } => {
                [Code::NotFound, Code::DataLoss].contains(&status.code()).then_some(digest)
            }
            Self::Store(StoreError::Missing(digest) | StoreError::Damaged { digest, .. }) => Some(digest),
            Self::Cache(CacheError::Damaged { wanted: digest, .. } | CacheError::WrongSize { digest, .. }) => {
                Some(digest)
            }
            _ => None,
        }
    }
}

/// Whether the answer may be another one later: the coordinator was not there, was cut off, has no room, or failed in a
/// way that is not the request's.
fn is_passing(code: Code) -> bool {
    match code {
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => true,
    }
}
