//! Why the store refused or failed, and whether waiting helps.

use crate::ARTIFACT_BYTES_MAX;
use ensemble::id::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such artifact.
    #[error("there is no artifact {0} in the store; restore it from a copy, or train again")]
    Missing(Digest),
    /// The stored bytes are not the ones that were put there.
    #[error("artifact {digest} is damaged: {found}; restore it from a copy, or remove it and train again")]
    Damaged {
        /// The artifact.
        digest: Digest,
        /// What is there instead.
        found: String,
    },
    /// The sender announced one thing and sent another.
    #[error("the upload does not match its announcement: {0}; send it again")]
    Mismatch(String),
    /// More than the store takes.
    #[error("an artifact of {0} bytes is too large: at most {ARTIFACT_BYTES_MAX} are stored")]
    TooLarge(u64),
    /// What has to fit into memory does not.
    #[error("artifact {digest} has {bytes} bytes, more than the {bytes_max} that are read at once")]
    TooLargeToRead {
        /// The artifact.
        digest: Digest,
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// What has to fit into the scratch folder never will.
    #[error("{bytes} bytes have to be at hand at once, but the scratch folder may hold {bytes_max}; give it more")]
    TooLargeForScratch {
        /// What is needed at once.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The disk failed, or is full.
    #[error("the artifact store at {path} failed: {error}; check its disk and its free space")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The object store failed, or cannot be reached.
    #[error("the artifact store {location} cannot be used at the moment: {detail}; check the network and the service")]
    Unavailable {
        /// Which store.
        location: String,
        /// What it says.
        detail: String,
    },
    /// The object store does not let this program do what it has to.
    #[error(
        "the artifact store {location} refuses: {detail}; check that the bucket exists, and that the credentials \
         in the environment may list, read, write and delete there"
    )]
    Refused {
        /// Which store.
        location: String,
        /// What it says.
        detail: String,
    },
    /// Whoever used the store has stopped, or the whole program has.
    #[error("the use of the artifact store was given up; the program is stopping, or its log says why")]
    GivenUp,
}

impl StoreError {
    /// Whether the same request may succeed later although nobody changes it: a network or a service comes back, a full
    /// disk gets room, credentials are put right. Of what is passing, only a refusal needs somebody to do something.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Unavailable { .. } | Self::Refused { .. } | Self::GivenUp)
    }

    /// The artifact that is not there as its name says: it has to be made again.
    pub fn lost(&self) -> Option<&Digest> {
        match self {
            Self::Missing(digest) | Self::Damaged { digest, .. } => Some(digest),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}
