//! A program that is kept running as an operator's init would, and disturbed.

use super::log::{Log, Mark};
use super::wait::{patiently, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A program and how it is started.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub log: Log,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// What it says once it does its work.
    ready: &'static str,
    running: Option<(Child, Mark)>,
    /// How often it ended though nobody had asked for it.
    deserted: usize,
}

impl Process {
    /// A program that does not run yet. Its log goes on through all of its lives.
    pub fn new(name: &str, program: PathBuf, log: PathBuf, ready: &'static str) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self {
            name: name.to_owned(),
            log: Log::new(log),
            program,
            arguments,
            environment,
            ready,
            running: None,
            deserted: 0,
        }
    }

    /// Adds options and their values.
    pub fn with<V: Into<OsString>>(mut self, options: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let words = options.into_iter().flat_map(|(option, value)| [option.into(), value.into()]);
        self.arguments.extend(words);
        self
    }

    /// Adds variables of its environment.
    pub fn within(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Starts it, and does not wait.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        let mark = self.log.mark();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command.stdout(self.log.writer()).stderr(self.log.writer());
        self.running = Some((command.spawn().unwrap(), mark));
    }

    /// Whether it has said, in this life, that it does its work. One that ended by itself is started again.
    pub fn is_ready(&mut self) -> bool {
        if !self.runs() {
            self.start();
        }
        let (_, mark) = self.running.as_ref().unwrap();
        self.log.since(*mark).lines().any(|line| line.starts_with(self.ready))
    }

    /// Waits until it does its work.
    pub fn await_ready(&mut self) {
        let what = format!("{} says `{}`", self.name, self.ready);
        wait_until(&what, || self.is_ready());
    }

    /// Whether it runs, stopped or not. An end that nobody has asked for is noted.
    pub fn runs(&mut self) -> bool {
        let Some((child, _)) = &mut self.running else { return false };
        let Some(status) = child.try_wait().unwrap() else { return true };
        eprintln!("{} ended by itself: {status}\n{}", self.name, self.log.tail());
        self.running = None;
        self.deserted += 1;
        false
    }

    /// How often it has ended by itself.
    pub fn deserted(&self) -> usize {
        self.deserted
    }

    /// Its number.
    pub fn id(&self) -> Pid {
        Pid::from_child(&self.running.as_ref().unwrap().0)
    }

    /// Ends it as a failing host would.
    pub fn kill(&mut self) {
        let status = self.end(Signal::KILL);
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{} ended otherwise: {status}", self.name);
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(&mut self) {
        let status = self.end(Signal::TERM);
        assert!(status.success(), "{} did not drain: {status}\n{}", self.name, self.log.tail());
    }

    /// Waits until it ends by itself, as it must.
    pub fn ends(&mut self) -> ExitStatus {
        let (mut child, _) = self.running.take().unwrap();
        patiently(&format!("{} ends", self.name), || child.try_wait().unwrap())
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        kill_process(self.id(), signal).unwrap();
        let (mut child, _) = self.running.take().unwrap();
        patiently(&format!("{} ends on {signal:?}", self.name), || child.try_wait().unwrap())
    }

    /// Stops the process in the middle of whatever it does.
    pub fn freeze(&self) {
        freeze(self.id());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill_process(self.id(), Signal::CONT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Stops a process, and sees that it is stopped.
pub fn freeze(id: Pid) {
    kill_process(id, Signal::STOP).unwrap();
    wait_until("a stopped process is stopped", || state(id) == Some('T'));
}

/// Whether a process is gone, or only waits to be reaped.
pub fn is_dead(id: Pid) -> bool {
    matches!(state(id), None | Some('Z' | 'X'))
}

/// What the kernel says of a process: the field after its name, which stands in parentheses.
fn state(id: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
