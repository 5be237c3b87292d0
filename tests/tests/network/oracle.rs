//! What only an observer of all hosts at once can know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Sees who works on what. Shared by all hosts of one simulation, which run on one thread.
#[derive(Clone, Default)]
pub struct Oracle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The worker that began each attempt.
    attempts: BTreeMap<(String, u32), String>,
    /// How many epochs were trained, those that were trained again included.
    epochs: u64,
    /// Attempts that went on over a session's end.
    reattached: BTreeSet<(String, u32)>,
}

impl Oracle {
    /// A worker begins an attempt. No other process ever began it.
    pub fn begin(&self, task: &str, attempt: u32, process: &str) {
        let before = self.0.lock().unwrap().attempts.insert((task.to_owned(), attempt), process.to_owned());
        assert_eq!(before, None, "attempt {attempt} of {task} was granted twice, now to {process}");
    }

    /// An epoch of one run was trained.
    pub fn trained(&self) {
        self.0.lock().unwrap().epochs += 1;
    }

    /// An attempt is at work as a new session begins.
    pub fn reattached(&self, task: &str, attempt: u32) {
        self.0.lock().unwrap().reattached.insert((task.to_owned(), attempt));
    }

    /// Epochs trained in all.
    pub fn epochs(&self) -> u64 {
        self.0.lock().unwrap().epochs
    }

    /// Attempts granted in all.
    pub fn attempts(&self) -> usize {
        self.0.lock().unwrap().attempts.len()
    }

    /// Attempts that outlived a session.
    pub fn reattachments(&self) -> usize {
        self.0.lock().unwrap().reattached.len()
    }
}
