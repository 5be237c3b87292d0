//! Whether the kernel has been killing processes for memory.

use std::fs;

/// Counts that hold for the whole host, and for the container seen from within.
const COUNTERS: [&str; 2] = ["/proc/vmstat", "/sys/fs/cgroup/memory.events"];

/// How many processes the kernel had killed for want of memory, at one moment: on this host, in this container and in
/// this control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryKills {
    count: u64,
}

impl MemoryKills {
    /// The count now.
    pub fn now() -> Self {
        let own = own_group(&read("/proc/self/cgroup")).map(|group| format!("/sys/fs/cgroup{group}/memory.events"));
        let paths = COUNTERS.into_iter().map(str::to_owned).chain(own);
        Self { count: paths.map(|path| count(&read(&path))).sum() }
    }

    /// Whether a process was killed since. Which one, the kernel does not say; a `SIGKILL` at the same time does.
    pub fn happened_since(self) -> bool {
        Self::now().count > self.count
    }
}

/// This process's group in the unified hierarchy, unless it is the root.
fn own_group(file: &str) -> Option<&str> {
    file.lines().find_map(|line| line.strip_prefix("0::")).filter(|group| *group != "/")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the line `oom_kill N`, which both files have.
fn count(file: &str) -> u64 {
    let value = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok();
    file.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_both_files() {
        assert_eq!(count("pgfree 12\noom_kill 3\ndrop_pagecache 0\n"), 3);
        assert_eq!(count("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn the_own_group_is_found() {
        assert_eq!(own_group("4:memory:/x\n0::/system.slice/tutti.service\n"), Some("/system.slice/tutti.service"));
        assert_eq!(own_group("0::/\n"), None);
        assert_eq!(own_group(""), None);
    }
}
