//! The `calibrate` task: an average of weights gets batch-norm statistics of its own.

use std::path::PathBuf;

use crate::data::{EvaluationBatches, Selection};
use crate::error::TaskError;
use crate::event::{Event, Listener};
use crate::model_file;
use crate::nn::Mode;
use crate::predict;
use crate::session::{ModelTask, Session};

/// Recomputes the running statistics as equal means over batches of the run's training samples, unchanged by
/// augmentation, as `torch.optim.swa_utils.update_bn` does; writes the model anew.
pub fn calibrate(session: &mut Session, task: &ModelTask, listener: &mut dyn Listener) -> Result<PathBuf, TaskError> {
    let data = session.data.load(&task.job.data)?;
    let (mut network, file) = predict::load_for(&task.model, &data, session.device)?;
    let selection = Selection::new(&task.job, task.run.samples, &data.train.host_labels);
    let normalization = std::slice::from_ref(&file.interface.normalization);
    let size = task.run.train.batch_size.into();
    let batches = EvaluationBatches::new(&data.train, &[&selection.training], normalization, size)?;
    network.begin_calibration()?;
    for batch in batches.iter() {
        drop(network.forward(&batch?.images, Mode::Calibrate)?);
        listener.tell(Event::Further);
    }
    let path = task.scratch.join(format!("run-{}-calibrated.safetensors", task.run.index));
    let note = format!("batch-norm statistics over {} training samples", selection.training.len());
    model_file::write_changed(&path, &network.arena().state_of(0)?, &file.notes, ("calibrated", &note))?;
    Ok(path)
}
