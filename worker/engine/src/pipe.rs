//! The engine's side of the pipe to its worker: requests come in on standard input, events go out on standard output.
//!
//! One thread reads requests; the other one, which owns all tensors, works through them one by one. The reader acts at
//! once on two things: a stop request, and the end of the input, with which the worker is gone and the engine too.

mod convert;
mod frame;
mod requests;

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use proto::v1::engine_event::Event as Wire;
use proto::v1::engine_request::Request;
use proto::v1::{EngineEvent, EngineFailed, EngineFinished, EngineLoad, EngineLoaded, EnginePredict, EnginePredicted};
use tch::Device;

use crate::calibrate::calibrate;
use crate::error::TaskError;
use crate::evaluate::evaluate;
use crate::event::{Event, Listener};
use crate::predict::{MemberAnswer, Predictor};
use crate::session::Session;
use crate::train::train;
use requests::{Numbered, Requests, StopFlag};

/// Takes standard output for the protocol alone: whatever else writes there, libraries included, goes to standard error.
pub fn take_stdout() -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    let private = io::stdout().as_fd().try_clone_to_owned()?;
    // SAFETY: both descriptors are open; descriptor 1 becomes a copy of descriptor 2.
    if unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(private)
}

/// Says that the engine is ready, then works through requests until the input ends.
///
/// # Errors
/// When the output breaks: the worker is gone.
pub fn serve(device: Device, device_name: &str, output: OwnedFd) -> io::Result<()> {
    let mut worker = Worker { out: BufWriter::new(output.into()), stop: StopFlag::default(), task: 0, broken: None };
    worker.send(convert::ready(device_name));
    let requests = Requests::read_on_a_thread(worker.stop.clone());
    let mut engine = Engine { session: Session::new(device), predictors: HashMap::new() };
    while let Some(Numbered { request, task }) = requests.next() {
        worker.task = task;
        engine.handle(request, &mut worker);
        if let Some(error) = worker.broken.take() {
            return Err(error);
        }
    }
    Ok(())
}

/// What the engine knows.
struct Engine {
    session: Session,
    predictors: HashMap<String, Predictor>,
}

impl Engine {
    fn handle(&mut self, request: Request, worker: &mut Worker) {
        match request {
            Request::Train(task) => {
                let work = |worker: &mut Worker| train(&mut self.session, &convert::train_task(task)?, worker);
                worker.run(|worker| work(worker).map(|()| PathBuf::new()));
            }
            Request::Calibrate(task) => {
                worker.run(|worker| calibrate(&mut self.session, &convert::model_task(task)?, worker));
            }
            Request::Evaluate(task) => {
                worker.run(|worker| evaluate(&mut self.session, &convert::model_task(task)?, worker));
            }
            Request::Load(load) => self.load(load, worker),
            Request::Unload(unload) => drop(self.predictors.remove(&unload.predictor)),
            Request::Predict(predict) => self.predict(predict, worker),
            // The reader has acted on it.
            Request::Stop(_) => {}
        }
    }

    fn load(&mut self, load: EngineLoad, worker: &mut Worker) {
        let models: Vec<_> = load.models.into_iter().map(|model| (model.member, model.path.into())).collect();
        let loaded = guarded(|| Predictor::load(&models, self.session.device));
        let error = loaded.as_ref().err().map(TaskError::message).unwrap_or_default();
        if let Ok(predictor) = loaded {
            self.predictors.insert(load.predictor.clone(), predictor);
        }
        worker.send(Wire::Loaded(EngineLoaded { predictor: load.predictor, error }));
    }

    fn predict(&mut self, predict: EnginePredict, worker: &mut Worker) {
        let request = predict.request;
        let (members, error) = match guarded(|| self.answer(predict)) {
            Ok(answers) => (answers.into_iter().map(convert::member_logits).collect(), String::new()),
            Err(error) => (Vec::new(), error.message()),
        };
        worker.send(Wire::Predicted(EnginePredicted { request, error, members }));
    }

    fn answer(&mut self, predict: EnginePredict) -> Result<Vec<MemberAnswer>, TaskError> {
        let predictor = self.predictors.get_mut(&predict.predictor);
        let unknown = || TaskError::Job(format!("predictor `{}` is not loaded", predict.predictor));
        predictor.ok_or_else(unknown)?.answer(&convert::question(predict.inputs)?)
    }
}

/// The worker at the other end of the pipe.
struct Worker {
    out: BufWriter<std::fs::File>,
    stop: StopFlag,
    /// The number of the task at work.
    task: u64,
    broken: Option<io::Error>,
}

impl Worker {
    /// Runs a task and says how it ended.
    fn run(&mut self, work: impl FnOnce(&mut Self) -> Result<PathBuf, TaskError>) {
        let ended = guarded(|| work(self));
        self.send(match ended {
            Ok(path) => Wire::Finished(EngineFinished { path: path.to_string_lossy().into_owned() }),
            Err(error) => Wire::Failed(EngineFailed {
                class: proto::v1::FailureClass::from(error.class()).into(),
                message: error.message(),
            }),
        });
    }

    /// Writes one event. After a failure nothing more is written, and [`serve`] ends.
    fn send(&mut self, event: Wire) {
        if self.broken.is_none() {
            self.broken = self.try_send(event).err();
        }
    }

    fn try_send(&mut self, event: Wire) -> io::Result<()> {
        frame::write(&mut self.out, &EngineEvent { event: Some(event) })?;
        self.out.flush()
    }
}

impl Listener for Worker {
    fn tell(&mut self, event: Event) {
        self.send(convert::event(event));
    }

    fn must_stop(&self) -> bool {
        self.broken.is_some() || self.stop.covers(self.task)
    }
}

/// Runs `work`; a panic, as of a libtorch call that should not fail, becomes an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, TaskError>) -> Result<T, TaskError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(TaskError::Panic(text.to_owned()))
    })
}
