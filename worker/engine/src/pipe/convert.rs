//! Between the wire and what the engine works with.

use std::path::PathBuf;

use ensemble::job::Job;
use ensemble::run::Run;
use proto::v1::engine_event::Event as Wire;
use proto::v1::{
    self, DataType, EngineCheckpoint, EngineLog, EngineModelFile, EngineModelWork, EngineProgress, EngineReady,
    EngineTrain, MemberLogits,
};
use tch::Kind;

use crate::error::TaskError;
use crate::event::{Event, Progress};
use crate::libtorch;
use crate::predict::{MemberAnswer, Question};
use crate::session::{ModelTask, TrainTask};

pub fn ready(device: &str) -> Wire {
    Wire::Ready(EngineReady {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: libtorch::VERSION.to_owned(),
        device: device.to_owned(),
    })
}

pub fn train_task(wire: EngineTrain) -> Result<TrainTask, TaskError> {
    let resume = |path: String| if path.is_empty() { None } else { Some(PathBuf::from(path)) };
    let runs = wire.runs.into_iter().map(|item| Ok((run(&item.run_json)?, resume(item.resume_path))));
    let runs = runs.collect::<Result<Vec<_>, TaskError>>()?;
    if runs.is_empty() {
        return Err(TaskError::Job("a training task without runs".to_owned()));
    }
    Ok(TrainTask { job: job(&wire.job_json)?, runs, scratch: wire.scratch.into() })
}

pub fn model_task(wire: EngineModelWork) -> Result<ModelTask, TaskError> {
    let (job, run) = (job(&wire.job_json)?, run(&wire.run_json)?);
    Ok(ModelTask { job, run, model: wire.model_path.into(), scratch: wire.scratch.into() })
}

fn job(json: &str) -> Result<Job, TaskError> {
    Job::from_json(json).map_err(|error| TaskError::Job(format!("the job is invalid: {error}")))
}

fn run(json: &str) -> Result<Run, TaskError> {
    serde_json::from_str(json).map_err(|error| TaskError::Job(format!("the run is invalid: {error}")))
}

pub fn question(inputs: Option<v1::Tensor>) -> Result<Question, TaskError> {
    let inputs = inputs.ok_or_else(|| TaskError::Job("no inputs".to_owned()))?;
    let kind = match inputs.data_type() {
        DataType::Uint8 => Kind::Uint8,
        DataType::Fp32 => Kind::Float,
        DataType::Unspecified => return Err(TaskError::Job("inputs of no data type; use UINT8 or FP32".to_owned())),
    };
    Question::new(&inputs.shape, &inputs.data, kind)
}

pub fn event(event: Event) -> Wire {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    match event {
        Event::Progress { run, progress: of } => Wire::Progress(EngineProgress { run, progress: Some(progress(of)) }),
        Event::Further => Wire::Progress(EngineProgress { run: 0, progress: None }),
        Event::Checkpoint { run, step, branch, path } => {
            Wire::Checkpoint(EngineCheckpoint { run, step, branch, path: text(path) })
        }
        Event::Model { run, kind, batch_norm, path } => {
            Wire::Model(EngineModelFile { run, kind: Some(kind.into()), batch_norm, path: text(path) })
        }
        Event::Log(text) => Wire::Log(EngineLog { text }),
    }
}

fn progress(of: Progress) -> v1::Progress {
    v1::Progress {
        step: of.step,
        steps: of.steps,
        epoch: of.epoch,
        loss: of.loss,
        accuracy: of.accuracy,
        learning_rate: of.learning_rate,
        steps_per_second: of.steps_per_second,
        validation_accuracy: of.score.map(|score| score.accuracy),
        validation_nll: of.score.map(|score| score.nll),
    }
}

pub fn member_logits(answer: MemberAnswer) -> MemberLogits {
    let bytes: Vec<u8> = answer.logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    MemberLogits { member: answer.member, logits: bytes.into(), classes: answer.classes }
}
