//! A process's log, read while it grows.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Stdio;

/// How much of a log is shown when something is wrong.
const TAIL_LINES: usize = 40;

/// A log file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
}

/// A place in a log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Mark {
    /// Before everything.
    pub const START: Self = Self(0);
}

impl Log {
    /// A log in this file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// An end to write at.
    pub fn writer(&self) -> Stdio {
        File::options().create(true).append(true).open(&self.path).unwrap().into()
    }

    /// Its end as it is now.
    pub fn mark(&self) -> Mark {
        Mark(fs::metadata(&self.path).map_or(0, |file| file.len()))
    }

    /// What was written since.
    pub fn since(&self, mark: Mark) -> String {
        let mut bytes = Vec::new();
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(mark.0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        crate::text(&bytes)
    }

    /// How many lines contain all of `words`.
    pub fn count(&self, mark: Mark, words: &[&str]) -> usize {
        let text = self.since(mark);
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Its last lines.
    pub fn tail(&self) -> String {
        let text = self.since(Mark::START);
        let lines: Vec<_> = text.lines().collect();
        format!("== {}\n{}\n", self.path.display(), lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
    }
}
