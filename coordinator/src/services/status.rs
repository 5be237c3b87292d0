//! What an error is called on the wire: the one table from domain errors to gRPC's codes.

use crate::backup::BackupError;
use crate::collection::CollectError;
use crate::driver::{ApplyError, Stopped};
use crate::serving::PredictError;
use artifacts::StoreError;
use ensemble::cluster::Rejection;
use std::io::ErrorKind;
use tonic::{Code, Status};

/// The code of a rejection. A client repeats `RESOURCE_EXHAUSTED` and `UNAVAILABLE`, and nothing else.
pub fn rejection_code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::UnknownJob(_)
        | Rejection::UnknownTask(_)
        | Rejection::UnknownWorker(_)
        | Rejection::NoSuchWorker(_) => Code::NotFound,
        Rejection::StaleLease(_) | Rejection::JobEnded(_) => Code::FailedPrecondition,
        Rejection::InvalidJob(_) | Rejection::Unexpected(_) => Code::InvalidArgument,
        Rejection::Full(_) => Code::ResourceExhausted,
    }
}

/// A refused command or look.
pub fn rejection_status(rejection: Rejection) -> Status {
    Status::new(rejection_code(&rejection), rejection.to_string())
}

/// A prediction that was not made.
pub fn predict_status(error: PredictError) -> Status {
    let code = match &error {
        PredictError::NotServed(_) => Code::NotFound,
        PredictError::BelowQuorum { .. } | PredictError::Stopped => Code::Unavailable,
        PredictError::Busy => Code::ResourceExhausted,
    };
    Status::new(code, error.to_string())
}

/// A failed command.
pub fn apply_status(error: ApplyError) -> Status {
    let code = match &error {
        ApplyError::Rejected(rejection) => rejection_code(rejection),
        ApplyError::Busy => Code::ResourceExhausted,
        ApplyError::Stalled(_) | ApplyError::Stopped(_) => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

/// The driver has ended.
pub fn stopped_status(stopped: Stopped) -> Status {
    Status::unavailable(stopped.to_string())
}

/// A collection of garbage that did not come to its end.
pub fn collect_status(error: CollectError) -> Status {
    match error {
        CollectError::Store(error) => store_status(error),
        CollectError::Stopped(stopped) => stopped_status(stopped),
        CollectError::Unsure => Status::unavailable(error.to_string()),
    }
}

/// A backup that was not made.
pub fn backup_status(error: BackupError) -> Status {
    let code = match &error {
        BackupError::InDatabase => Code::FailedPrecondition,
        BackupError::Io { error, .. } if error.kind() == ErrorKind::StorageFull => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// A failed use of the artifact store.
pub fn store_status(error: StoreError) -> Status {
    let code = match &error {
        StoreError::Missing(_) => Code::NotFound,
        StoreError::Damaged { .. } => Code::DataLoss,
        StoreError::Mismatch(_) | StoreError::TooLarge(_) => Code::InvalidArgument,
        StoreError::TooLargeToRead { .. } | StoreError::TooLargeForScratch { .. } => Code::FailedPrecondition,
        StoreError::Io { .. } | StoreError::Unavailable { .. } => Code::Unavailable,
        StoreError::Refused { .. } | StoreError::GivenUp => Code::Unavailable,
    };
    if matches!(code, Code::DataLoss | Code::Unavailable) {
        tracing::error!(%error, "artifact store");
    }
    Status::new(code, error.to_string())
}
