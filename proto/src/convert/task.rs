//! Leases, the work they are for, and how a task fails.

use super::Malformed;
use crate::v1;
use ensemble::cluster::{Failure, FailureClass, LeaseKey, Slot, TrainRun, Work};
use ensemble::id::TaskId;
use ensemble::run::Run;

impl From<LeaseKey> for v1::LeaseKey {
    fn from(key: LeaseKey) -> Self {
        Self { task: key.task.to_string(), attempt: key.attempt }
    }
}

impl TryFrom<v1::LeaseKey> for LeaseKey {
    type Error = Malformed;

    fn try_from(wire: v1::LeaseKey) -> Result<Self, Malformed> {
        if wire.task.is_empty() {
            return Err(Malformed::new("task", "is empty"));
        }
        Ok(Self { task: TaskId::new(wire.task), attempt: wire.attempt })
    }
}

impl From<FailureClass> for v1::FailureClass {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::User => Self::User,
            FailureClass::Data => Self::Data,
            FailureClass::OutOfMemory => Self::OutOfMemory,
            FailureClass::Device => Self::Device,
            FailureClass::EngineLost => Self::EngineLost,
            FailureClass::Infrastructure => Self::Infrastructure,
        }
    }
}

impl TryFrom<v1::FailureClass> for FailureClass {
    type Error = Malformed;

    fn try_from(wire: v1::FailureClass) -> Result<Self, Malformed> {
        match wire {
            v1::FailureClass::User => Ok(Self::User),
            v1::FailureClass::Data => Ok(Self::Data),
            v1::FailureClass::OutOfMemory => Ok(Self::OutOfMemory),
            v1::FailureClass::Device => Ok(Self::Device),
            v1::FailureClass::EngineLost => Ok(Self::EngineLost),
            v1::FailureClass::Infrastructure => Ok(Self::Infrastructure),
            v1::FailureClass::Unspecified => Err(Malformed::new("class", "is unspecified")),
        }
    }
}

impl TryFrom<v1::TaskFailed> for Failure {
    type Error = Malformed;

    fn try_from(wire: v1::TaskFailed) -> Result<Self, Malformed> {
        Ok(Self { class: wire.class().try_into()?, message: wire.message })
    }
}

impl From<v1::WorkerSlot> for Slot {
    fn from(wire: v1::WorkerSlot) -> Self {
        Self { index: wire.index, device: wire.device, holds: None }
    }
}

impl v1::Lease {
    /// The message that grants `work` to a slot.
    pub fn granting(key: LeaseKey, slot: u32, work: Work) -> Self {
        use v1::lease::Work as Wire;
        let (job, work) = match work {
            Work::Train { job, runs } => {
                (job, Wire::Train(v1::TrainWork { runs: runs.into_iter().map(v1::TrainRun::from).collect() }))
            }
            Work::Calibrate { job, run, model } => (job, Wire::Calibrate(model_work(&run, model))),
            Work::Evaluate { job, run, model } => (job, Wire::Evaluate(model_work(&run, model))),
        };
        Self { key: Some(key.into()), slot, job_json: job.to_json(), work: Some(work) }
    }
}

fn model_work(run: &Run, model: ensemble::run::Artifact) -> v1::ModelWork {
    v1::ModelWork { run_json: run.to_json(), model: Some(model.into()) }
}

impl From<TrainRun> for v1::TrainRun {
    fn from(train: TrainRun) -> Self {
        Self { run_json: train.run.to_json(), resume: train.resume.map(Into::into) }
    }
}
