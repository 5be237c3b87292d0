//! The engine as a child process: started, spoken to over its standard input and output, and never outliving the worker.

mod ending;
mod memory;
mod processor;
mod seat;
mod stderr;

pub use ending::Ending;
pub use seat::Seat;

use crate::device::Device;
use crate::frame;
use memory::MemoryKills;
use proto::v1::{EngineEvent, EngineRequest, engine_event::Event, engine_request::Request};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use stderr::Tail;
use tokio::io::BufReader;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A starting engine loads libtorch and, where it is, CUDA: seconds from a warm disk, a minute from a cold one.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Between the end of its output and its exit, an engine has nothing left to do.
const EXIT_WITHIN: Duration = Duration::from_secs(5);
/// How long the last lines of a dead engine may take to arrive. They are in the pipe already, unless something that it
/// left behind holds the pipe open.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);
/// Requests that the engine has not read yet. One task at a time, or a few predictions.
const REQUESTS_MAX: usize = 64;
/// Events and lines that nobody has looked at yet. A full queue slows the engine down; its lines are dropped instead.
const OUTPUTS_MAX: usize = 256;
/// Added to the engine's badness (of 1000) when the kernel looks for something to kill: it takes the engine first, and
/// the worker can tell what happened.
const OOM_SCORE: &str = "500";

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The engine's executable.
    pub path: PathBuf,
    /// What it computes on.
    pub device: Device,
    /// How many threads it uses.
    pub threads: usize,
}

/// An engine that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operating system did not start it.
    #[error("cannot start the engine {}: {source}; name another with --engine", .path.display())]
    Spawn {
        /// The engine's executable.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error(
        "the engine ended before it was ready: {0}; if libtorch is missing or of another version, `make setup` fetches \
         the right one"
    )]
    EndedEarly(Ending),
    /// It said nothing.
    #[error("the engine was not ready within {} s", READY_WITHIN.as_secs())]
    Silent,
    /// It belongs to another version of Tutti.
    #[error("the engine is of version {engine}, this worker of {worker}; install both from one build")]
    OtherVersion {
        /// The engine's version.
        engine: String,
        /// This worker's.
        worker: &'static str,
    },
}

/// What an engine says.
#[derive(Debug)]
pub enum Output {
    /// An event on standard output.
    Event(Event),
    /// A line on standard error.
    Line(String),
    /// It has ended, or speaks nonsense; nothing follows.
    Ended(Ending),
}

/// A running engine. Dropping it kills it.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    requests: mpsc::Sender<EngineRequest>,
    outputs: mpsc::Receiver<Raw>,
    tail: Arc<Tail>,
    memory_kills: MemoryKills,
    /// Whether standard output has come to its end.
    ended: bool,
    /// What was wrong with its last message, if the stream was broken by it.
    nonsense: Option<String>,
}

/// What the reading tasks hand over. The end of standard output is told explicitly, for standard error may stay open.
#[derive(Debug)]
enum Raw {
    Event(Event),
    Line(String),
    End(Option<String>),
}

impl Engine {
    /// Starts an engine and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, ends at once, says nothing, or is of another version.
    pub async fn start(program: &Program) -> Result<Self, EngineError> {
        let memory_kills = MemoryKills::now();
        let spawned = command(program).spawn();
        let child = spawned.map_err(|source| EngineError::Spawn { path: program.path.clone(), source })?;
        let mut engine = Self::attach(child, memory_kills);
        timeout(READY_WITHIN, engine.ready()).await.map_err(|_| EngineError::Silent)??;
        Ok(engine)
    }

    fn attach(mut child: Child, memory_kills: MemoryKills) -> Self {
        if let Some(process) = child.id() {
            // Worth having and never needed: a kernel that refuses only makes a worse choice later.
            let _ = std::fs::write(format!("/proc/{process}/oom_score_adj"), OOM_SCORE);
        }
        let (requests, written) = mpsc::channel(REQUESTS_MAX);
        let (read, outputs) = mpsc::channel(OUTPUTS_MAX);
        let tail = Arc::new(Tail::default());
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let (Some(stdin), Some(stdout), Some(stderr)) = pipes {
            tokio::spawn(write_requests(stdin, written));
            tokio::spawn(read_events(stdout, read.clone()));
            tokio::spawn(read_lines(stderr, read, Arc::clone(&tail)));
        }
        Self { child, requests, outputs, tail, memory_kills, ended: false, nonsense: None }
    }

    async fn ready(&mut self) -> Result<(), EngineError> {
        loop {
            match self.output().await {
                Output::Event(Event::Ready(ready)) if ready.version == env!("CARGO_PKG_VERSION") => {
                    tracing::info!(libtorch = ready.libtorch, device = ready.device, "engine ready");
                    return Ok(());
                }
                Output::Event(Event::Ready(ready)) => {
                    let worker = env!("CARGO_PKG_VERSION");
                    return Err(EngineError::OtherVersion { engine: ready.version, worker });
                }
                Output::Event(_) => {}
                Output::Line(line) => tracing::debug!(line, "engine starting"),
                Output::Ended(ending) => return Err(EngineError::EndedEarly(ending)),
            }
        }
    }

    /// Queues a request. One to an engine that has died is lost: its end is the next output.
    pub async fn send(&self, request: Request) {
        let _ = self.requests.send(EngineRequest { request: Some(request) }).await;
    }

    /// What the engine says next. Once it has ended it says so again and again.
    pub async fn output(&mut self) -> Output {
        if !self.ended {
            match self.outputs.recv().await {
                Some(Raw::Event(event)) => return Output::Event(event),
                Some(Raw::Line(line)) => return Output::Line(line),
                Some(Raw::End(nonsense)) => self.end(nonsense),
                None => self.end(None),
            }
        }
        match timeout(LAST_LINES_WITHIN, self.outputs.recv()).await {
            Ok(Some(Raw::Line(line))) => Output::Line(line),
            _ => Output::Ended(self.ending().await),
        }
    }

    /// An engine that speaks nonsense cannot be understood any more.
    fn end(&mut self, nonsense: Option<String>) {
        self.ended = true;
        if nonsense.is_some() {
            // It fails only for a process that has exited.
            let _ = self.child.start_kill();
        }
        self.nonsense = nonsense;
    }

    /// What it wrote last, of the task at work.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The processor time that it has used, in ticks; none once it has ended.
    pub fn processor_time(&self) -> Option<u64> {
        processor::time_used(self.child.id()?)
    }

    /// Drops what was said before now, and tells whether the engine still runs.
    pub fn quiet(&mut self) -> bool {
        while let Ok(output) = self.outputs.try_recv() {
            if let Raw::End(nonsense) = output {
                self.end(nonsense);
            }
        }
        !self.ended && matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes the engine's input, which asks it to exit, and kills it if it does not within `grace`.
    pub async fn close(mut self, grace: Duration) {
        drop(self.requests);
        if timeout(grace, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    async fn ending(&mut self) -> Ending {
        let exited = timeout(EXIT_WITHIN, self.child.wait()).await;
        let status = match exited {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.kill().await;
                None
            }
        };
        Ending::new(status, self.nonsense.clone(), self.memory_kills.happened_since(), self.tail.text())
    }
}

fn command(program: &Program) -> Command {
    let worker = std::process::id();
    let mut command = Command::new(&program.path);
    command.args(["--device", &program.device.to_string(), "--threads", &program.threads.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A Ctrl-C in the terminal is for the worker, which then stops its engines in its own way.
    command.process_group(0);
    // SAFETY: prctl and getppid are async-signal-safe, and nothing is allocated on the way of success.
    unsafe { command.pre_exec(move || die_with(worker)) };
    command
}

/// Has the kernel kill this process when the thread that started it is gone. Threads of the runtime last as long as the
/// worker does.
fn die_with(parent: u32) -> std::io::Result<()> {
    // SAFETY: both calls take and return integers only.
    let (set, actual) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
    match (set, u32::try_from(actual)) {
        (0, Ok(actual)) if actual == parent => Ok(()),
        (0, _) => Err(std::io::ErrorKind::BrokenPipe.into()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

async fn write_requests(mut stdin: ChildStdin, mut requests: mpsc::Receiver<EngineRequest>) {
    while let Some(request) = requests.recv().await {
        if frame::write(&mut stdin, &request).await.is_err() {
            return;
        }
    }
}

async fn read_events(stdout: ChildStdout, outputs: mpsc::Sender<Raw>) {
    let mut stdout = BufReader::new(stdout);
    let end = loop {
        match frame::read::<EngineEvent>(&mut stdout).await {
            Ok(Some(EngineEvent { event: Some(event) })) => {
                if outputs.send(Raw::Event(event)).await.is_err() {
                    return;
                }
            }
            // An event that this version does not know.
            Ok(Some(EngineEvent { event: None })) => {}
            Ok(None) => break Raw::End(None),
            Err(error) => break Raw::End(Some(error.to_string())),
        }
    };
    let _ = outputs.send(end).await;
}

async fn read_lines(stderr: ChildStderr, outputs: mpsc::Sender<Raw>, tail: Arc<Tail>) {
    let mut lines = stderr::Lines::new(stderr);
    while let Some(line) = lines.next().await {
        tail.push(line.clone());
        let _ = outputs.try_send(Raw::Line(line));
    }
}
