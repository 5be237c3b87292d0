//! The `evaluate` task: what a model answers for every part of the data.

use std::path::PathBuf;

use tch::{Device, TchError, Tensor};

use crate::artifact::{self, Metadata, Tensors};
use crate::data::{EvaluationBatches, Normalization, Part, Selection};
use crate::error::TaskError;
use crate::event::Listener;
use crate::nn::Network;
use crate::predict;
use crate::scoring;
use crate::session::{ModelTask, Session};

/// Predicts the validation part, the test part and, for a run that held one out, its fold. The file has, for each part
/// that there is, `PART.logits` `[N, K]` f32 and `PART.labels` `[N]` i64, in ascending order of samples, and
/// `held_out.indices` `[N]` i64 into the training files.
pub fn evaluate(session: &mut Session, task: &ModelTask, listener: &mut dyn Listener) -> Result<PathBuf, TaskError> {
    let data = session.data.load(&task.job.data)?;
    let (mut network, file) = predict::load_for(&task.model, &data, session.device)?;
    let selection = Selection::new(&task.job, task.run.samples, &data.train.host_labels);
    let normalization = &file.interface.normalization;
    let mut tensors = Tensors::new();
    let mut add = |name: &str, part: &Part, samples: &[i64]| -> Result<(), TaskError> {
        tensors.extend(predictions(&mut network, name, part, samples, normalization, listener)?);
        Ok(())
    };
    add("validation", &data.train, &selection.validation)?;
    if let Some(test) = &data.test {
        add("test", test, &test.everything())?;
    }
    add("held_out", &data.train, &selection.held_out)?;
    if !selection.held_out.is_empty() {
        tensors.push(("held_out.indices".to_owned(), Tensor::f_from_slice(&selection.held_out)?));
    }
    let path = task.scratch.join(format!("run-{}-predictions.safetensors", task.run.index));
    artifact::write(&path, &tensors, &Metadata::new())
        .map_err(|source| TaskError::Artifact { path: path.clone(), source })?;
    Ok(path)
}

fn predictions(
    network: &mut Network,
    name: &str,
    part: &Part,
    samples: &[i64],
    normalization: &Normalization,
    listener: &mut dyn Listener,
) -> Result<Tensors, TaskError> {
    if samples.is_empty() {
        return Ok(Tensors::new());
    }
    let normalization = std::slice::from_ref(normalization);
    let batches = EvaluationBatches::new(part, &[samples], normalization, scoring::batch_size(1))?;
    let answers = scoring::answers(network, &batches, listener)?.remove(0);
    let on_host = |tensor: &Tensor| -> Result<Tensor, TchError> { tensor.f_to_device(Device::Cpu)?.f_contiguous() };
    Ok(vec![
        (format!("{name}.logits"), on_host(&answers.logits)?),
        (format!("{name}.labels"), on_host(&answers.labels)?),
    ])
}
