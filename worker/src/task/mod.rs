//! One attempt at a task: fetch what it needs, give it to the engine, pass on what the engine says, store what it makes,
//! and report how it ended.

mod error;
mod files;
mod vigil;

pub use error::TaskError;
pub use vigil::Patience;

use crate::engine::{Output, Seat};
use crate::log::LogBudget;
use crate::outbox::Outbox;
use crate::scratch;
use crate::transfer::{Cached, Narrator, Persistence, Transfer, TransferError};
use files::{File, Files, Product};
use proto::v1::engine_event::Event;
use proto::v1::engine_request::Request;
use proto::v1::from_worker::Message;
use proto::v1::lease::Work;
use proto::v1::{
    Artifact, CheckpointStored, Damaged, EngineCheckpoint, EngineFailed, EngineModelFile, EngineModelWork,
    EngineProgress, EngineRun, EngineTrain, FailureClass, Lease, LeaseKey, ModelKind, ModelStored, ModelWork,
    TaskFailed, TaskFinished, TaskLog, TaskProgress, TrainRun, TrainWork, Yielded,
};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use vigil::Vigil;

/// What an engine says when it was asked to stop and did.
const STOPPED: FailureClass = FailureClass::Infrastructure;

/// The wish that a task ends early.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Wishes it, once and for all.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    async fn asked(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

/// What an attempt works with.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The lease's name, on everything that is said about it.
    pub key: &'a LeaseKey,
    /// Where it is said.
    pub outbox: &'a Outbox,
    /// How artifacts come and go.
    pub transfer: &'a Transfer,
    /// The folder for everything that the engine writes.
    pub scratch: &'a Path,
    /// The wish that the task ends early, with what it has got so far stored.
    pub stop: &'a Stop,
    /// How long the engine may seem to do nothing.
    pub patience: Patience,
}

/// How a task ended that did not fail.
enum Outcome {
    /// It is done; with an artifact, if it is there for one.
    Finished(Option<Artifact>),
    /// It has ended early, as it was asked to.
    Yielded,
}

/// How the engine ended its part.
enum Relayed {
    Finished,
    Stopped,
}

impl Attempt<'_> {
    /// Works the lease off and reports how that ended. Dropping the future leaves the engine at work: see
    /// [`Seat::settle`].
    ///
    /// # Errors
    /// Whatever kept the task from being done; it has been reported by then.
    pub async fn run(&self, seat: &mut Seat, lease: Lease) -> Result<(), TaskError> {
        let log = Log::new(self);
        let done = self.work(seat, lease, &log).await;
        if let Err(error) = &done {
            self.make_good(error).await;
        }
        self.outbox.report(self.key, self.conclusion(&done)).await;
        done.map(drop)
    }

    /// To the artifact that is the outcome, if there is one. Everything before it is stored and told by then.
    async fn work(&self, seat: &mut Seat, lease: Lease, log: &Log<'_>) -> Result<Outcome, TaskError> {
        self.clear_scratch().await?;
        let ready = async {
            let prepared = self.prepare(lease, log).await?;
            seat.warm_up().await?;
            Ok::<_, TaskError>(prepared)
        };
        // The inputs stay in the cache until the task is done.
        let (request, _inputs) = tokio::select! {
            ready = ready => ready?,
            () = self.stop.asked() => return Ok(Outcome::Yielded),
        };
        seat.begin(request).await;
        let files = Files::default();
        let relaying = async {
            let end = self.relay(seat, &files, log).await;
            files.complete();
            Ok::<_, TaskError>(end)
        };
        // What was made before a failure is stored all the same: the next attempt goes on from it.
        let (end, outcome) = tokio::try_join!(relaying, self.store_all(&files, log))?;
        Ok(match end? {
            Relayed::Finished => Outcome::Finished(outcome),
            Relayed::Stopped => Outcome::Yielded,
        })
    }

    async fn clear_scratch(&self) -> Result<(), TaskError> {
        let folder = self.scratch.to_owned();
        let cleared = spawn_blocking(move || scratch::empty(&folder)).await.map_err(TransferError::from)?;
        cleared.map_err(|source| TaskError::Scratch { folder: self.scratch.to_owned(), source })
    }

    async fn prepare(&self, lease: Lease, log: &Log<'_>) -> Result<(Request, Vec<Cached>), TaskError> {
        let job_json = lease.job_json;
        match lease.work.ok_or(TaskError::Incomplete("work"))? {
            Work::Train(train) => self.prepare_training(job_json, train, log).await,
            Work::Calibrate(work) => self.prepare_model_work(job_json, work, log, Request::Calibrate).await,
            Work::Evaluate(work) => self.prepare_model_work(job_json, work, log, Request::Evaluate).await,
        }
    }

    async fn prepare_training(
        &self,
        job_json: String,
        train: TrainWork,
        log: &Log<'_>,
    ) -> Result<(Request, Vec<Cached>), TaskError> {
        let (mut runs, mut inputs) = (Vec::new(), Vec::new());
        for TrainRun { run_json, resume } in train.runs {
            let mut resume_path = String::new();
            if let Some(checkpoint) = resume {
                let cached = self.transfer.fetch(&checkpoint, &Persistence::of_a_lease(log)).await?;
                resume_path = text(&cached.path());
                inputs.push(cached);
            }
            runs.push(EngineRun { run_json, resume_path });
        }
        Ok((Request::Train(EngineTrain { job_json, runs, scratch: text(self.scratch) }), inputs))
    }

    async fn prepare_model_work(
        &self,
        job_json: String,
        work: ModelWork,
        log: &Log<'_>,
        request: fn(EngineModelWork) -> Request,
    ) -> Result<(Request, Vec<Cached>), TaskError> {
        let model = work.model.ok_or(TaskError::Incomplete("model"))?;
        let model = self.transfer.fetch(&model, &Persistence::of_a_lease(log)).await?;
        let (model_path, scratch) = (text(&model.path()), text(self.scratch));
        Ok((request(EngineModelWork { job_json, run_json: work.run_json, model_path, scratch }), vec![model]))
    }

    /// Passes on what the engine says, and its files to whoever stores them, until its part has ended one way or another.
    async fn relay(&self, seat: &mut Seat, files: &Files, log: &Log<'_>) -> Result<Relayed, TaskError> {
        let mut vigil = Vigil::new(self.patience);
        let mut is_stopping = false;
        loop {
            let output = tokio::select! {
                output = seat.output() => output,
                () = self.stop.asked(), if !is_stopping => {
                    is_stopping = true;
                    seat.ask_to_stop().await;
                    continue;
                }
                () = vigil.look_due() => match vigil.look(seat.processor_time()) {
                    Some(why) => return Err(TaskError::Stalled { why, last_lines: seat.kill() }),
                    None => continue,
                },
            };
            match &output {
                Output::Event(_) => vigil.got_further(),
                Output::Line(_) | Output::Ended(_) => vigil.said_something(),
            }
            match output {
                // That it has got further is all that it says.
                Output::Event(Event::Progress(EngineProgress { progress: None, .. })) => {}
                Output::Event(Event::Progress(EngineProgress { run, progress })) => self.tell_progress(run, progress),
                Output::Event(Event::Log(entry)) => {
                    seat.keep_line(entry.text.clone());
                    log.tell(entry.text);
                }
                Output::Line(line) => log.tell(line),
                Output::Event(Event::Checkpoint(checkpoint)) => {
                    let EngineCheckpoint { run, step, path, branch } = checkpoint;
                    hand_over(files, path, Product::Checkpoint { run, step, branch }).await;
                }
                Output::Event(Event::Model(model)) => {
                    let EngineModelFile { run, kind, path, batch_norm } = model;
                    hand_over(files, path, Product::Model { run, kind, batch_norm }).await;
                }
                Output::Event(Event::Finished(finished)) => {
                    if !finished.path.is_empty() {
                        hand_over(files, finished.path, Product::Outcome).await;
                    }
                    return Ok(Relayed::Finished);
                }
                Output::Event(Event::Failed(failed)) if is_stopping && failed.class() == STOPPED => {
                    return Ok(Relayed::Stopped);
                }
                Output::Event(Event::Failed(failed)) => return Err(reported(failed, seat.last_lines())),
                Output::Ended(ending) => return Err(TaskError::EngineLost(ending)),
                Output::Event(Event::Ready(_) | Event::Loaded(_) | Event::Predicted(_)) => {}
            }
        }
    }

    /// Stores files in the order of their making, and tells the coordinator of each once it is there.
    async fn store_all(&self, files: &Files, log: &Log<'_>) -> Result<Option<Artifact>, TaskError> {
        let mut outcome = None;
        while let Some(File { path, product }) = files.next().await {
            let artifact = self.transfer.store(&path, &Persistence::of_a_lease(log)).await?;
            self.transfer.keep(path, &artifact).await;
            match product {
                Product::Checkpoint { run, step, branch } => self.tell_checkpoint(run, step, branch, artifact).await,
                Product::Model { run, kind, batch_norm } => self.tell_model(run, kind, batch_norm, artifact).await,
                Product::Outcome => outcome = Some(artifact),
            }
        }
        Ok(outcome)
    }

    /// Does what helps the next attempt: a damaged artifact is reported, and a full disk gets room.
    async fn make_good(&self, error: &TaskError) {
        if let TaskError::Transfer(error) = error
            && let Some(digest) = error.damaged()
        {
            let damaged = Damaged { key: Some(self.key.clone()), digest: digest.to_string() };
            self.outbox.report(self.key, Message::Damaged(damaged)).await;
        }
        if error.is_full_disk() {
            let _ = self.clear_scratch().await;
            self.transfer.make_room().await;
        }
    }

    fn conclusion(&self, done: &Result<Outcome, TaskError>) -> Message {
        let task = &self.key.task;
        let key = Some(self.key.clone());
        match done {
            Ok(Outcome::Finished(artifact)) => {
                tracing::info!(task, "task done");
                Message::Finished(TaskFinished { key, artifact: artifact.clone() })
            }
            Ok(Outcome::Yielded) => {
                tracing::info!(task, "task handed back");
                Message::Yielded(Yielded { key })
            }
            Err(error) => {
                tracing::warn!(task, %error, "task failed");
                Message::Failed(TaskFailed { key, class: error.class().into(), message: error.message() })
            }
        }
    }

    fn tell_progress(&self, run: u32, progress: Option<proto::v1::Progress>) {
        let key = Some(self.key.clone());
        self.outbox.note(self.key, Message::Progress(TaskProgress { key, run, progress }));
    }

    async fn tell_checkpoint(&self, run: u32, step: u64, branch: Option<u32>, artifact: Artifact) {
        let key = Some(self.key.clone());
        let stored = CheckpointStored { key, run, step, artifact: Some(artifact), branch };
        self.outbox.report(self.key, Message::Checkpoint(stored)).await;
    }

    async fn tell_model(&self, run: u32, kind: Option<ModelKind>, batch_norm: bool, artifact: Artifact) {
        let key = Some(self.key.clone());
        let stored = ModelStored { key, run, kind, artifact: Some(artifact), batch_norm };
        self.outbox.report(self.key, Message::Model(stored)).await;
    }
}

/// The task's log, for people.
struct Log<'a> {
    key: &'a LeaseKey,
    outbox: &'a Outbox,
    budget: Mutex<LogBudget>,
}

impl<'a> Log<'a> {
    fn new(attempt: &Attempt<'a>) -> Self {
        Self { key: attempt.key, outbox: attempt.outbox, budget: Mutex::new(LogBudget::new(Instant::now())) }
    }
}

impl Narrator for Log<'_> {
    /// Writes a line, unless there are too many.
    fn tell(&self, line: String) {
        let admitted = self.budget.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now(), line);
        if let Some(text) = admitted {
            self.outbox.note(self.key, Message::Log(TaskLog { key: Some(self.key.clone()), text }));
        }
    }
}

fn reported(failed: EngineFailed, last_lines: String) -> TaskError {
    TaskError::Reported { failed, last_lines }
}

/// A checkpoint that a newer one has overtaken on its way is of no use any more.
async fn hand_over(files: &Files, path: String, product: Product) {
    if let Some(superseded) = files.push(File { path: path.into(), product }).await {
        spawn_blocking(move || std::fs::remove_file(superseded.path));
    }
}

/// Paths below the data folder, which is known to be text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
