//! One attempt at a task: fetch what it needs, give it to the engine, pass on what the engine says, store what it makes.

use crate::engine::{Ending, EngineError, Output, Seat};
use crate::log::LogBudget;
use crate::outbox::Outbox;
use crate::scratch;
use crate::transfer::{Cached, Transfer, TransferError};
use proto::v1::engine_event::Event;
use proto::v1::engine_request::Request;
use proto::v1::from_worker::Message;
use proto::v1::lease::Work;
use proto::v1::{
    Artifact, CheckpointStored, EngineCheckpoint, EngineFailed, EngineModelFile, EngineModelWork, EngineRun,
    EngineTrain, FailureClass, Lease, LeaseKey, ModelKind, ModelStored, ModelWork, TaskLog, TaskProgress, TrainRun,
    TrainWork,
};
use std::path::{Path, PathBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Files that wait for their upload. The engine goes on meanwhile; one that writes faster than the network takes is
/// slowed down rather than allowed to fill the disk.
const FILES_MAX: usize = 32;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The engine says so.
    #[error("{}", .0.message)]
    Reported(EngineFailed),
    /// The engine ended in the middle of it.
    #[error("the engine ended without a word: {0}")]
    EngineLost(Ending),
    /// There is no engine to do it.
    #[error(transparent)]
    NoEngine(#[from] EngineError),
    /// Something it needs or makes could not be moved.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// There is no room for its files.
    #[error("cannot use {}: {source}", .folder.display())]
    Scratch {
        /// The task's folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The lease says nothing that this version knows.
    #[error("the lease lacks `{0}`")]
    Incomplete(&'static str),
}

impl TaskError {
    /// What kind of failure this is, which decides whether it is tried again.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Reported(failed) if failed.class() == FailureClass::Unspecified => FailureClass::EngineLost,
            Self::Reported(failed) => failed.class(),
            Self::EngineLost(ending) => ending.class(),
            Self::NoEngine(_) | Self::Transfer(_) | Self::Scratch { .. } | Self::Incomplete(_) => {
                FailureClass::Infrastructure
            }
        }
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
    /// Notified when the task shall end early, with what it has got so far stored.
    pub stop: &'a Notify,
}

/// A file that the engine has handed over.
struct File {
    path: PathBuf,
    product: Product,
}

/// What a file is.
enum Product {
    Checkpoint {
        run: u32,
        step: u64,
        branch: Option<u32>,
    },
    Model {
        run: u32,
        kind: Option<ModelKind>,
        batch_norm: bool,
    },
    /// The calibrated model or the predictions.
    Outcome,
}

impl Attempt<'_> {
    /// Works the lease off, to the artifact that is its outcome, if it has one. Everything before it is stored and told by
    /// then. Dropping the future leaves the engine at work: see [`Seat::settle`].
    ///
    /// # Errors
    /// Whatever keeps the task from being done.
    pub async fn run(&self, seat: &mut Seat, lease: Lease) -> Result<Option<Artifact>, TaskError> {
        let scratch = |source| TaskError::Scratch { folder: self.scratch.to_owned(), source };
        scratch::empty(self.scratch).map_err(scratch)?;
        // The inputs stay in the cache until the task is done.
        let (request, _inputs) = self.prepare(lease).await?;
        seat.warm_up().await?;
        seat.begin(request).await;
        let (files, queue) = mpsc::channel(FILES_MAX);
        let relaying = async { Ok::<_, TaskError>(self.relay(seat, files).await) };
        // What was made before a failure is stored all the same: the next attempt goes on from it.
        let (end, outcome) = tokio::try_join!(relaying, self.store_all(queue))?;
        end.map(|()| outcome)
    }

    async fn prepare(&self, lease: Lease) -> Result<(Request, Vec<Cached>), TaskError> {
        let job_json = lease.job_json;
        match lease.work.ok_or(TaskError::Incomplete("work"))? {
            Work::Train(train) => self.prepare_training(job_json, train).await,
            Work::Calibrate(work) => self.prepare_model_work(job_json, work, Request::Calibrate).await,
            Work::Evaluate(work) => self.prepare_model_work(job_json, work, Request::Evaluate).await,
        }
    }

    async fn prepare_training(&self, job_json: String, train: TrainWork) -> Result<(Request, Vec<Cached>), TaskError> {
        let (mut runs, mut inputs) = (Vec::new(), Vec::new());
        for TrainRun { run_json, resume } in train.runs {
            let mut resume_path = String::new();
            if let Some(checkpoint) = resume {
                let cached = self.transfer.fetch(&checkpoint).await?;
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
        request: fn(EngineModelWork) -> Request,
    ) -> Result<(Request, Vec<Cached>), TaskError> {
        let model = self.transfer.fetch(&work.model.ok_or(TaskError::Incomplete("model"))?).await?;
        let (model_path, scratch) = (text(&model.path()), text(self.scratch));
        Ok((request(EngineModelWork { job_json, run_json: work.run_json, model_path, scratch }), vec![model]))
    }

    /// Passes on what the engine says, and its files to whoever stores them, until the task has ended one way or another.
    async fn relay(&self, seat: &mut Seat, files: mpsc::Sender<File>) -> Result<(), TaskError> {
        let mut log = LogBudget::new(Instant::now());
        loop {
            let output = tokio::select! {
                output = seat.output() => output,
                () = self.stop.notified() => {
                    seat.ask_to_stop().await;
                    continue;
                }
            };
            match output {
                Output::Event(Event::Progress(progress)) => self.tell_progress(progress.run, progress.progress),
                Output::Event(Event::Log(entry)) => self.tell_line(&mut log, entry.text),
                Output::Line(line) => self.tell_line(&mut log, line),
                Output::Event(Event::Checkpoint(checkpoint)) => {
                    let EngineCheckpoint { run, step, path, branch } = checkpoint;
                    hand_over(&files, path, Product::Checkpoint { run, step, branch }).await;
                }
                Output::Event(Event::Model(model)) => {
                    let EngineModelFile { run, kind, path, batch_norm } = model;
                    hand_over(&files, path, Product::Model { run, kind, batch_norm }).await;
                }
                Output::Event(Event::Finished(finished)) => {
                    if !finished.path.is_empty() {
                        hand_over(&files, finished.path, Product::Outcome).await;
                    }
                    return Ok(());
                }
                Output::Event(Event::Failed(failed)) => return Err(TaskError::Reported(failed)),
                Output::Ended(ending) => return Err(TaskError::EngineLost(ending)),
                Output::Event(Event::Ready(_) | Event::Loaded(_) | Event::Predicted(_)) => {}
            }
        }
    }

    /// Stores files in the order of their making, and tells the coordinator of each once it is there.
    async fn store_all(&self, mut files: mpsc::Receiver<File>) -> Result<Option<Artifact>, TaskError> {
        let mut outcome = None;
        while let Some(File { path, product }) = files.recv().await {
            let artifact = self.transfer.store(&path).await?;
            self.transfer.keep(path, &artifact).await;
            match product {
                Product::Checkpoint { run, step, branch } => self.tell_checkpoint(run, step, branch, artifact).await,
                Product::Model { run, kind, batch_norm } => self.tell_model(run, kind, batch_norm, artifact).await,
                Product::Outcome => outcome = Some(artifact),
            }
        }
        Ok(outcome)
    }

    fn tell_progress(&self, run: u32, progress: Option<proto::v1::Progress>) {
        let key = Some(self.key.clone());
        self.outbox.offer(Message::Progress(TaskProgress { key, run, progress }));
    }

    fn tell_line(&self, log: &mut LogBudget, line: String) {
        if let Some(text) = log.admit(Instant::now(), line) {
            self.outbox.offer(Message::Log(TaskLog { key: Some(self.key.clone()), text }));
        }
    }

    async fn tell_checkpoint(&self, run: u32, step: u64, branch: Option<u32>, artifact: Artifact) {
        let key = Some(self.key.clone());
        let stored = CheckpointStored { key, run, step, artifact: Some(artifact), branch };
        self.outbox.send(Message::Checkpoint(stored)).await;
    }

    async fn tell_model(&self, run: u32, kind: Option<ModelKind>, batch_norm: bool, artifact: Artifact) {
        let key = Some(self.key.clone());
        let stored = ModelStored { key, run, kind, artifact: Some(artifact), batch_norm };
        self.outbox.send(Message::Model(stored)).await;
    }
}

/// A queue that nobody empties any more belongs to a task that has failed.
async fn hand_over(files: &mpsc::Sender<File>, path: String, product: Product) {
    let _ = files.send(File { path: path.into(), product }).await;
}

/// Paths below the data folder, which is known to be text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
