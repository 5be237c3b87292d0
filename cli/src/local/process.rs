//! One child process: it dies with this one, and its words go to a log.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A program that has not said within this time that it is ready never will be. A worker waits as long for its engines,
/// which load libtorch, from a cold disk perhaps.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// How much of a log is shown when its process has ended.
const LAST_LINES: usize = 5;

/// A running child.
pub struct Process {
    pub name: String,
    log: PathBuf,
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Ended {
    pub name: String,
    status: ExitStatus,
    log: PathBuf,
}

impl Process {
    /// Starts a program, what it says in plain text at the end of its log. It gets a process group of its own, so that a Ctrl-C at the terminal
    /// reaches this process alone, which then stops its children in order.
    ///
    /// # Errors
    /// The program or its log cannot be opened.
    pub fn start(name: &str, program: &Path, arguments: &[String], log: PathBuf) -> Result<Self> {
        let sink = File::options().create(true).append(true).open(&log);
        let sink = sink.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(sink)
            .process_group(0)
            .kill_on_drop(true);
        die_with_this_process(&mut command);
        let started = command.spawn();
        let mut child =
            started.with_context(|| format!("cannot start {}; `make build` makes it", program.display()))?;
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Ok(Self { name: name.to_owned(), log, child, lines })
    }

    /// Waits for a line that begins with `prefix`, and gives its rest. What follows is read and dropped, so that the
    /// child never waits for a reader.
    ///
    /// # Errors
    /// The child ended without it, or did not say it in time.
    pub async fn ready(&mut self, prefix: &str) -> Result<String> {
        let mut lines = self.lines.take().context("a child says only once that it is ready")?;
        let line = tokio::time::timeout(READY_TIMEOUT, line_with(prefix, &mut lines)).await;
        match line {
            Ok(Ok(Some(rest))) => {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok(rest)
            }
            Ok(_) => Err(self.ended().await?.into_error()),
            Err(_) => bail!(
                "{} was not ready within {} s; its log: {}",
                self.name,
                READY_TIMEOUT.as_secs(),
                self.log.display()
            ),
        }
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// The system does not tell.
    pub async fn ended(&mut self) -> Result<Ended> {
        let status = self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(Ended { name: self.name.clone(), status, log: self.log.clone() })
    }

    /// Asks the child to stop.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Ends the child at once.
    pub fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// A child that was waited for has no id any more, so that nobody else can be hit. One that is gone but not yet
    /// waited for hears nothing, and need not.
    fn send(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let _ = pid.map(|pid| kill_process(pid, signal));
    }
}

impl Ended {
    /// Whether it was asked to stop, rather than crashed.
    pub fn was_stopped(&self) -> bool {
        self.status.success()
    }

    /// How it ended, where its log is, and what it said last.
    pub fn obituary(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| format!("\n  {line}"));
        format!("{} ended ({}); its log: {}{}", self.name, self.status, self.log.display(), last.collect::<String>())
    }

    /// An end that nothing can go on after.
    pub fn into_error(self) -> anyhow::Error {
        anyhow::anyhow!(self.obituary())
    }
}

async fn line_with(prefix: &str, lines: &mut Lines<BufReader<ChildStdout>>) -> io::Result<Option<String>> {
    while let Some(line) = lines.next_line().await? {
        if let Some(rest) = line.strip_prefix(prefix) {
            return Ok(Some(rest.trim().to_owned()));
        }
    }
    Ok(None)
}

/// Even a parent that is killed outright leaves no child behind.
fn die_with_this_process(command: &mut Command) {
    let parent = rustix::process::getpid();
    let arrange = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was arranged for.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure runs between fork and exec and does nothing but two system calls: it neither allocates nor
    // takes a lock.
    unsafe {
        command.pre_exec(arrange);
    }
}
