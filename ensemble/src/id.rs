//! Typed names of things, so that a task's name can never stand where a worker's belongs.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a name as it is.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// A job, such as `fashion-mnist-1`: its name and a number of its own.
    ///
    /// ```compile_fail
    /// use ensemble::id::{JobId, TaskId};
    /// let task: TaskId = JobId::new("fashion-mnist-1");
    /// ```
    JobId
}
name_type! {
    /// A task, such as `fashion-mnist-1/train/0`.
    TaskId
}

impl TaskId {
    /// The job that the task belongs to: what stands before the kind and the number. None for a name of another form.
    pub fn job(&self) -> Option<JobId> {
        let mut parts = self.0.rsplitn(3, '/');
        parts.nth(2).map(JobId::new)
    }
}

name_type! {
    /// A worker process, by the name it gave itself; unique in the cluster.
    WorkerId
}

/// The SHA-256 of an artifact's bytes, which is the artifact's name: 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest as 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hexadecimal) { Ok(Self(text)) } else { Err(InvalidDigest) }
    }
}

/// Text that is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hexadecimal digits (SHA-256)")]
pub struct InvalidDigest;
