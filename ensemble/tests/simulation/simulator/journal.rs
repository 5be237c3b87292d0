//! The journal's disk: it outlives the coordinator's process, and loses what was not synced.
//!
//! Entries lie one after the other as bytes, each with its length and a checksum, as in a log file. A crash in the middle
//! of an append leaves some of them, and maybe half of one. Whoever opens the journal cuts off what is not whole.

use super::random::{Random, mix};
use ensemble::cluster::{Command, Millis};

/// An accepted command, and when.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    pub at: Millis,
    pub command: Command,
}

/// A disk with a journal on it.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    bytes: Vec<u8>,
    entries: usize,
    snapshot: Option<Snapshot>,
}

/// The state after so many entries, as JSON.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub entries: usize,
    pub state: String,
}

impl Journal {
    /// Appends entries, synced.
    pub fn append(&mut self, entries: &[Entry]) {
        self.bytes.extend(encode(entries));
        self.entries += entries.len();
    }

    /// How many entries a replay would have to apply.
    pub fn tail(&self) -> usize {
        self.entries - self.snapshot.as_ref().map_or(0, |snapshot| snapshot.entries)
    }

    pub fn keep_snapshot(&mut self, state: String) {
        self.snapshot = Some(Snapshot { entries: self.entries, state });
    }

    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Appends entries as far as a crash lets it. Says what was on the disk afterwards.
    pub fn append_torn(&mut self, entries: &[Entry], random: &mut Random) -> Tear {
        let bytes = encode(entries);
        let kept = match random.below(4) {
            0 => 0,
            1 => bytes.len(),
            _ => random.below(bytes.len() as u64 + 1) as usize,
        };
        let whole = self.bytes.len();
        self.bytes.extend(&bytes[..kept]);
        let half = whole_length(&self.bytes) < self.bytes.len();
        let lost = self.bytes.len() < whole + bytes.len();
        Tear { half, lost }
    }

    /// Opens the journal after a restart: cuts off what is not whole, and gives the entries in order.
    pub fn open(&mut self) -> Vec<Entry> {
        self.bytes.truncate(whole_length(&self.bytes));
        let mut entries = Vec::new();
        let mut rest = &self.bytes[..];
        while let Some((body, left)) = record(rest) {
            entries.push(serde_json::from_slice(body).expect("what has the right checksum was written as an entry"));
            rest = left;
        }
        self.entries = entries.len();
        assert!(rest.is_empty(), "invariant_the_journal_is_read_to_its_end: {} bytes are left", rest.len());
        entries
    }
}

/// What an interrupted append left.
#[derive(Clone, Copy, Debug)]
pub struct Tear {
    /// Half an entry is on the disk.
    pub half: bool,
    /// Not all entries are there.
    pub lost: bool,
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let body = serde_json::to_vec(entry).expect("a command is maps with string keys, numbers and strings");
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend(checksum(&body).to_le_bytes());
        bytes.extend(body);
    }
    bytes
}

fn whole_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((_, left)) = record(rest) {
        rest = left;
    }
    bytes.len() - rest.len()
}

/// The first whole record, and what comes after it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length) as usize;
    let (body, left) = rest.split_at_checked(length)?;
    (checksum(body) == u64::from_le_bytes(*sum)).then_some((body, left))
}

fn checksum(body: &[u8]) -> u64 {
    body.chunks(8).fold(body.len() as u64, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(sum, u64::from_le_bytes(word))
    })
}
