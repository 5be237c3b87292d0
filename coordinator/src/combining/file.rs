//! The file of predictions that an `evaluate` task leaves: logits and labels of each part of the data.

use ensemble::predictions::{Invalid, Labels, Logits};
use safetensors::{Dtype, SafeTensors};

/// A part of the data that a model was evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The part held out of the training files.
    Validation,
    /// The test files.
    Test,
    /// The fold that the run did not see.
    HeldOut,
}

impl Part {
    fn prefix(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
            Self::HeldOut => "held_out",
        }
    }
}

/// Logits `[N, K]` beside the labels `[N]` of the same samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// What the model answered.
    pub logits: Logits,
    /// What is true.
    pub labels: Labels,
}

/// Why predictions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// The file is not what an evaluation writes.
    #[error("the file of predictions is not readable: {0}")]
    Unreadable(String),
    /// The values make no predictions.
    #[error(
        "the predictions on the {part} part are not usable: {error}; if they are not finite, training diverged: lower the learning rate"
    )]
    Invalid {
        /// The part of the data.
        part: &'static str,
        /// What is wrong.
        error: Invalid,
    },
}

/// Reads one part; none where the job has no such part.
pub fn read_part(file: &[u8], part: Part) -> Result<Option<Predictions>, PredictionsError> {
    let tensors = SafeTensors::deserialize(file).map_err(|error| PredictionsError::Unreadable(error.to_string()))?;
    let logits_name = format!("{}.logits", part.prefix());
    if !tensors.names().contains(&logits_name.as_str()) {
        return Ok(None);
    }
    let (values, shape) = numbers(&tensors, &logits_name, Dtype::F32, f32::from_le_bytes)?;
    let [_, classes] = shape[..] else {
        return Err(PredictionsError::Unreadable(format!("`{logits_name}` has shape {shape:?}, not [N, K]")));
    };
    let labels_name = format!("{}.labels", part.prefix());
    let (labels, _) = numbers(&tensors, &labels_name, Dtype::I64, i64::from_le_bytes)?;
    // A label that is no u32 is out of range for any number of classes, and is refused as that.
    let labels = labels.into_iter().map(|label| u32::try_from(label).unwrap_or(u32::MAX)).collect();
    pair(values, labels, classes).map(Some).map_err(|error| PredictionsError::Invalid { part: part.prefix(), error })
}

fn pair(values: Vec<f32>, labels: Vec<u32>, classes: usize) -> Result<Predictions, Invalid> {
    let (logits, labels) = (Logits::new(values, classes)?, Labels::new(labels, classes)?);
    match (logits.shape(), labels.shape()) {
        (left, right) if left != right => Err(Invalid::Shapes { left, right }),
        _ => Ok(Predictions { logits, labels }),
    }
}

fn numbers<T, const BYTES: usize>(
    tensors: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    read: fn([u8; BYTES]) -> T,
) -> Result<(Vec<T>, Vec<usize>), PredictionsError> {
    let tensor = tensors.tensor(name).map_err(|error| PredictionsError::Unreadable(error.to_string()))?;
    if tensor.dtype() != dtype {
        let problem = format!("`{name}` is {:?}, not {dtype:?}", tensor.dtype());
        return Err(PredictionsError::Unreadable(problem));
    }
    let (numbers, _) = tensor.data().as_chunks::<BYTES>();
    Ok((numbers.iter().map(|bytes| read(*bytes)).collect(), tensor.shape().to_vec()))
}
