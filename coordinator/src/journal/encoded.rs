//! Entries as both kinds of journal store them.

use super::{Entry, JournalError, Recorded, Sequence};

/// A stored entry's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub at: i64,
    /// JSON.
    pub command: String,
}

impl From<&Entry> for Encoded {
    fn from(entry: &Entry) -> Self {
        let command = serde_json::to_string(&entry.command).expect("commands are maps with string keys");
        Self { at: entry.at as i64, command }
    }
}

impl Encoded {
    pub fn decode(self, journal: &str, sequence: i64, rules: i64) -> Result<Recorded, JournalError> {
        let sequence = sequence as Sequence;
        let command = serde_json::from_str(&self.command).map_err(|error| JournalError::Replay {
            journal: journal.to_owned(),
            sequence,
            detail: error.to_string(),
        })?;
        Ok(Recorded { sequence, rules: rules as u32, entry: Entry { at: self.at as u64, command } })
    }
}

/// Compares what an append found in its place with what it was to write.
pub(super) fn check_same(
    journal: &str,
    first: Sequence,
    wanted: &[Encoded],
    found: &[Encoded],
) -> Result<(), JournalError> {
    match wanted.iter().zip(found).position(|(wanted, found)| wanted != found) {
        None if wanted.len() == found.len() => Ok(()),
        place => {
            let sequence = first + place.unwrap_or(found.len()) as Sequence;
            let detail = format!("entry {sequence} is another than the one that was written");
            Err(JournalError::Damaged { journal: journal.to_owned(), detail })
        }
    }
}

/// The entry before the first of an append is missing.
pub(super) fn lost_tail(journal: &str, first: Sequence) -> JournalError {
    let detail = format!("entry {} was written and is gone", first - 1);
    JournalError::Damaged { journal: journal.to_owned(), detail }
}
