//! The whole state at one moment, as text with its digest.

use super::Sequence;
use ensemble::cluster::Millis;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The state after an entry. How the text comes about and is read is the driver's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The newest entry that is in it.
    pub sequence: Sequence,
    /// When that entry was applied.
    pub at: Millis,
    /// JSON.
    pub state: String,
}

impl Snapshot {
    /// What is stored beside it: SHA-256 over all of it, in hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.sequence.to_le_bytes());
        hash.update(self.at.to_le_bytes());
        hash.update(&self.state);
        hex(&hash.finalize())
    }

    /// Itself, if it is what was stored; none if it is damaged.
    pub(super) fn verified(self, digest: &str) -> Option<Self> {
        (self.digest() == digest).then_some(self)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings take all that is written");
        text
    })
}
