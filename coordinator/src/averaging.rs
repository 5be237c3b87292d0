//! Averages of stored models: one stream per model out of the store, one stream back in.

use crate::patience::{Curable, Cure};
use artifacts::{Store, StoreError};
use ensemble::average::{AverageError, average_streams};
use ensemble::run::Artifact;
use ensemble::weights::{InvalidWeights, Weights};
use std::io::BufWriter;

/// Gathered before it is hashed and written: averaging hands over 64 KiB at a time.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// The end of the name of a tensor that only batch normalisation has.
const BATCH_NORM_SUFFIX: &str = ".running_mean";

/// Why there is no average.
#[derive(Debug, thiserror::Error)]
pub enum AveragingError {
    /// A model is not in the store or damaged, or the average cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The models do not fit together.
    #[error("the models cannot be averaged: {0}")]
    Average(#[from] AverageError),
    /// There are no models.
    #[error(transparent)]
    Weights(#[from] InvalidWeights),
}

impl Curable for AveragingError {
    /// A file that cannot be read or written is a matter of the disk; its content was checked.
    fn cure(&self) -> Cure {
        match self {
            Self::Store(error) => error.cure(),
            Self::Average(AverageError::Open { .. } | AverageError::Read { .. } | AverageError::Write(_)) => {
                Cure::Waiting
            }
            Self::Average(_) | Self::Weights(_) => Cure::None,
        }
    }
}

/// Averages models with equal weights and stores the result. Blocks.
///
/// Each model's digest is checked first: a damaged one would make a damaged average that nothing can tell from a good one.
///
/// The average, and whether it has batch norm, whose statistics must be recomputed.
pub fn average(store: &Store, models: &[Artifact]) -> Result<(Artifact, bool), AveragingError> {
    let weights = Weights::uniform(models.len())?;
    let mut files = store.blocking_files(models)?;
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, store.blocking_draft()?);
    let plan = average_streams(&mut files, &weights, &mut out)?;
    let batch_norm = plan.segments().iter().any(|segment| segment.name.ends_with(BATCH_NORM_SUFFIX));
    let draft = out.into_inner().map_err(|error| AverageError::Write(error.into_error()))?;
    Ok((draft.commit()?, batch_norm))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use safetensors::tensor::{Dtype, TensorView};
    use safetensors::{SafeTensors, serialize};
    use std::io::Write;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_folder(folder.path().to_owned()).unwrap();
        (folder, store)
    }

    fn model(store: &Store, tensor: &str, values: &[f32]) -> Artifact {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![values.len()], &bytes).unwrap();
        let mut draft = store.blocking_draft().unwrap();
        draft.write_all(&serialize([(tensor, view)], None).unwrap()).unwrap();
        draft.commit().unwrap()
    }

    #[test]
    fn the_mean_of_stored_models_is_stored() {
        let (_folder, store) = store();
        let models = [model(&store, "bn.running_mean", &[1.0, 5.0]), model(&store, "bn.running_mean", &[3.0, -1.0])];
        let (artifact, batch_norm) = average(&store, &models).unwrap();
        let file = store.blocking_read(&artifact.digest, 1 << 20).unwrap();
        let mean: Vec<u8> = [2.0_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(SafeTensors::deserialize(&file).unwrap().tensor("bn.running_mean").unwrap().data(), mean);
        assert!(batch_norm);
    }

    #[test]
    fn models_that_do_not_fit_are_refused_with_the_tensor_named() {
        let (_folder, store) = store();
        let models = [model(&store, "fc.weight", &[1.0]), model(&store, "fc.bias", &[1.0])];
        let error = average(&store, &models).unwrap_err().to_string();
        assert!(error.contains("fc."), "{error}");
    }
}
