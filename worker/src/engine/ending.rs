//! How an engine ended, in words and as a class of failure.

use proto::v1::FailureClass;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What libtorch and the driver say when a device is at fault.
const DEVICE_FAULTS: [&str; 4] = ["CUDA error", "cuDNN error", "CUDNN_STATUS_", "CUBLAS_STATUS_"];

/// How an engine ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Absent when the engine had to be killed, or its parent lost sight of it.
    status: Option<ExitStatus>,
    nonsense: Option<String>,
    memory_killed: bool,
    last_lines: String,
}

impl Ending {
    /// An engine that ended with `status`, after `nonsense` if its last message was none, having written `last_lines`.
    /// `kernel_killed` says whether the kernel killed something for want of memory meanwhile.
    pub fn new(status: Option<ExitStatus>, nonsense: Option<String>, kernel_killed: bool, last_lines: String) -> Self {
        let killed = status.and_then(|status| status.signal()) == Some(libc::SIGKILL);
        Self { status, nonsense, memory_killed: killed && kernel_killed, last_lines }
    }

    /// What kind of failure this is of the task at work.
    pub fn class(&self) -> FailureClass {
        if self.memory_killed {
            return FailureClass::OutOfMemory;
        }
        let device = self.has_aborted() && DEVICE_FAULTS.iter().any(|words| self.last_lines.contains(words));
        if device { FailureClass::Device } else { FailureClass::EngineLost }
    }

    /// C++ ends so on an error that nobody catches.
    fn has_aborted(&self) -> bool {
        self.status.and_then(|status| status.signal()) == Some(libc::SIGABRT)
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
        f.write_str(&self.last_lines)
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

    fn ending(wait_status: i32, kernel_killed: bool, last_lines: &str) -> Ending {
        Ending::new(Some(ExitStatus::from_raw(wait_status)), None, kernel_killed, last_lines.to_owned())
    }

    #[test]
    fn an_ending_says_how_and_what_came_last() {
        let aborted = ending(6, false, "; its last lines:\nterminate called");
        assert_eq!(aborted.to_string(), "killed by signal 6 (SIGABRT); its last lines:\nterminate called");
        assert_eq!(ending(3 << 8, false, "").to_string(), "exit status 3");
    }

    #[test]
    fn only_a_kill_while_the_kernel_kills_for_memory_is_out_of_memory() {
        assert_eq!(ending(9, true, "").class(), FailureClass::OutOfMemory);
        assert_eq!(ending(9, false, "").class(), FailureClass::EngineLost);
        assert_eq!(ending(6, true, "").class(), FailureClass::EngineLost);
    }

    #[test]
    fn an_abort_over_a_device_is_the_devices_fault() {
        let lines = "what(): CUDA error: uncorrectable ECC error encountered";
        assert_eq!(ending(6, false, lines).class(), FailureClass::Device);
        assert_eq!(ending(9, false, lines).class(), FailureClass::EngineLost);
    }
}
