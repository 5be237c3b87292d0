//! How an engine ended, in words and as a class of failure.

use proto::v1::FailureClass;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// No more of an engine's last lines than this go into a message.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// How an engine ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Absent when the engine had to be killed, or its parent lost sight of it.
    status: Option<ExitStatus>,
    nonsense: Option<String>,
    memory_killed: bool,
    lines: Vec<String>,
}

impl Ending {
    /// An engine that ended with `status`, after `nonsense` if its last message was none, having written `lines`.
    /// `kernel_killed` says whether the kernel killed something for want of memory meanwhile.
    pub fn new(status: Option<ExitStatus>, nonsense: Option<String>, kernel_killed: bool, lines: Vec<String>) -> Self {
        let killed = status.and_then(|status| status.signal()) == Some(libc::SIGKILL);
        Self { status, nonsense, memory_killed: killed && kernel_killed, lines }
    }

    /// What kind of failure this is of the task at work.
    pub fn class(&self) -> FailureClass {
        if self.memory_killed { FailureClass::OutOfMemory } else { FailureClass::EngineLost }
    }

    /// The last lines, as many as fit a message.
    fn last_lines(&self) -> &[String] {
        let mut bytes = 0;
        let fits = |line: &&String| {
            bytes += line.len() + 1;
            bytes <= MESSAGE_BYTES_MAX
        };
        let count = self.lines.iter().rev().take_while(fits).count();
        &self.lines[self.lines.len() - count..]
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(nonsense) = &self.nonsense {
            write!(f, "unreadable message ({nonsense}), ")?;
        }
        match self.status.map(|status| (status.signal(), status.code())) {
            Some((Some(signal), _)) => write!(f, "killed by signal {signal}{}", signal_name(signal))?,
            Some((None, Some(code))) => write!(f, "exit status {code}")?,
            _ => f.write_str("no exit status")?,
        }
        if self.memory_killed {
            f.write_str(" when the kernel ran out of memory")?;
        }
        match self.last_lines() {
            [] => Ok(()),
            lines => write!(f, "; its last lines:\n{}", lines.join("\n")),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(wait_status: i32, kernel_killed: bool, lines: &[&str]) -> Ending {
        let lines = lines.iter().map(ToString::to_string).collect();
        Ending::new(Some(ExitStatus::from_raw(wait_status)), None, kernel_killed, lines)
    }

    #[test]
    fn an_ending_says_how_and_what_came_last() {
        let aborted = ending(6, false, &["terminate called", "what(): bad"]);
        assert_eq!(aborted.to_string(), "killed by signal 6 (SIGABRT); its last lines:\nterminate called\nwhat(): bad");
        assert_eq!(ending(3 << 8, false, &[]).to_string(), "exit status 3");
    }

    #[test]
    fn only_a_kill_while_the_kernel_kills_for_memory_is_out_of_memory() {
        assert_eq!(ending(9, true, &[]).class(), FailureClass::OutOfMemory);
        assert_eq!(ending(9, false, &[]).class(), FailureClass::EngineLost);
        assert_eq!(ending(6, true, &[]).class(), FailureClass::EngineLost);
    }

    #[test]
    fn a_message_holds_the_last_of_many_lines() {
        let line = "x".repeat(1000);
        let many = ending(6, false, &vec![line.as_str(); 100]);
        assert_eq!(many.last_lines().len(), MESSAGE_BYTES_MAX / 1001);
    }
}
