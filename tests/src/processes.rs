//! Finding processes by a mark in their environment, which all their descendants inherit.

pub use rustix::process::Pid;

use rustix::process::{Signal, kill_process};
use std::fs;
use std::time::{Duration, Instant};

/// The variable that carries the mark.
pub(crate) const MARK: &str = "TUTTI_TEST_MARK";
/// Processes that were told to end do so within this time, or never.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How often the process table is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All processes with one mark.
#[derive(Clone, Debug)]
pub struct Marked {
    entry: Vec<u8>,
}

impl Marked {
    pub(crate) fn new(mark: &str) -> Self {
        Self { entry: format!("{MARK}={mark}").into_bytes() }
    }

    /// Those that run now and whose command line contains all of `words`.
    pub fn running(&self, words: &[&str]) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let matches = |id: &i32| self.is_marked(*id) && words.iter().all(|word| command_line(*id).contains(word));
        ids.filter(matches).filter_map(Pid::from_raw).collect()
    }

    /// A zombie has no environment any more, and so is not found.
    fn is_marked(&self, id: i32) -> bool {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == self.entry)
    }

    /// Ends all of them at once.
    pub fn kill(&self) {
        kill(&self.running(&[]));
    }

    /// Waits until none of them runs.
    pub fn assert_gone(&self) {
        let deadline = Instant::now() + END_WITHIN;
        loop {
            let left = self.running(&[]);
            if left.is_empty() {
                return;
            }
            let lines: Vec<_> = left.iter().map(|process| command_line(process.as_raw_nonzero().get())).collect();
            assert!(Instant::now() < deadline, "left behind: {lines:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Ends processes as the kernel does for want of memory.
pub(crate) fn kill(processes: &[Pid]) {
    for process in processes {
        // One that has ended by itself meanwhile needs no killing.
        let _ = kill_process(*process, Signal::KILL);
    }
}

/// Those that `parent` started and that still run.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())).unwrap().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let ids: Vec<i32> = lists.flat_map(|list| list.split(' ').flat_map(str::parse).collect::<Vec<_>>()).collect();
    ids.into_iter().filter_map(Pid::from_raw).collect()
}

fn command_line(id: i32) -> String {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    crate::text(&line).replace('\0', " ")
}
