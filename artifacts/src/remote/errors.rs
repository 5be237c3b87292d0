//! What an object store's errors mean here.

use crate::StoreError;
use ensemble::id::Digest;
use object_store::Error;

/// An error may quote a whole page of a proxy's; this much says enough.
const DETAIL_BYTES_MAX: usize = 500;

/// What a failed request means where the object asked for exists or need not.
pub(super) fn failed(location: &str, error: Error) -> StoreError {
    let (location, detail) = (location.to_owned(), detail(&error));
    match error {
        // Anything that could be a matter of the moment: no connection, a timeout, 429, 5xx, an answer cut short.
        Error::Generic { .. } | Error::JoinError { .. } | Error::Precondition { .. } | Error::AlreadyExists { .. } => {
            StoreError::Unavailable { location, detail }
        }
        _ => StoreError::Refused { location, detail },
    }
}

/// What a failed request for an artifact means.
pub(super) fn failed_for(location: &str, digest: &Digest, error: Error) -> StoreError {
    match error {
        Error::NotFound { .. } if !detail(&error).contains("NoSuchBucket") => StoreError::Missing(digest.clone()),
        error => failed(location, error),
    }
}

fn detail(error: &Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    text
}
