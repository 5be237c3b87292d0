//! Averages of stored models: one stream per model out of the store, one stream back in.

use crate::store::{Store, StoreError, Upload};
use ensemble::average::{AverageError, average_streams};
use ensemble::cluster::AverageOutcome;
use ensemble::run::Artifact;
use ensemble::weights::{InvalidWeights, Weights};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::thread;

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

/// Averages models with equal weights and stores the result.
pub fn average(store: &Store, models: &[Artifact]) -> Result<AverageOutcome, AveragingError> {
    let weights = Weights::uniform(models.len())?;
    let mut files = open_checked(store, models)?;
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, Sink(store.create()?));
    let plan = average_streams(&mut files, &weights, &mut out)?;
    let batch_norm = plan.segments().iter().any(|segment| segment.name.ends_with(BATCH_NORM_SUFFIX));
    let Sink(upload) = out.into_inner().map_err(|error| AverageError::Write(error.into_error()))?;
    Ok(AverageOutcome::Averaged { artifact: upload.commit()?, batch_norm })
}

/// Opens the models, each after its digest was checked: a damaged one would make a damaged average that nothing can tell
/// from a good one. Hashing costs more than averaging, so it is spread over the cores.
fn open_checked(store: &Store, models: &[Artifact]) -> Result<Vec<File>, StoreError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let open = |part: &[Artifact]| part.iter().map(|model| store.checked_file(&model.digest)).collect();
    thread::scope(|scope| {
        let parts: Vec<_> =
            models.chunks(models.len().div_ceil(threads)).map(|part| scope.spawn(move || open(part))).collect();
        let opened = parts.into_iter().map(|part| part.join().expect("reading and hashing do not panic"));
        Ok(opened.collect::<Result<Vec<Vec<File>>, _>>()?.into_iter().flatten().collect())
    })
}

/// An upload as a writer.
struct Sink(Upload);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use safetensors::tensor::{Dtype, TensorView};
    use safetensors::{SafeTensors, serialize};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned()).unwrap();
        (folder, store)
    }

    fn model(store: &Store, tensor: &str, values: &[f32]) -> Artifact {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![values.len()], &bytes).unwrap();
        let mut upload = store.create().unwrap();
        upload.write(&serialize([(tensor, view)], None).unwrap()).unwrap();
        upload.commit().unwrap()
    }

    #[test]
    fn the_mean_of_stored_models_is_stored() {
        let (_folder, store) = store();
        let models = [model(&store, "bn.running_mean", &[1.0, 5.0]), model(&store, "bn.running_mean", &[3.0, -1.0])];
        let AverageOutcome::Averaged { artifact, batch_norm } = average(&store, &models).unwrap() else { panic!() };
        let file = store.read(&artifact.digest, 1 << 20).unwrap();
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
