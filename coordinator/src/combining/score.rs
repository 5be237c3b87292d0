//! The scores of one model.

use super::file::{Part, PredictionsError, read_part};
use super::report::PREDICTIONS_BYTES_MAX;
use crate::store::{Store, StoreError};
use ensemble::cluster::{EvaluationScores, Failure, FailureClass};
use ensemble::id::Digest;
use ensemble::metrics::{Evaluation, Scores};

/// Scores stored predictions, or says how the task that made them failed: predictions that make no sense will make none
/// the next time either, while a store may recover.
pub fn score_stored(store: &Store, predictions: &Digest) -> Result<EvaluationScores, Failure> {
    let failure = |class, message| Failure { class, message };
    let file = store.read(predictions, PREDICTIONS_BYTES_MAX).map_err(|error| match error {
        StoreError::TooLargeToRead { .. } => failure(FailureClass::User, error.to_string()),
        _ => failure(FailureClass::Infrastructure, error.to_string()),
    })?;
    score(&file).map_err(|error| match error {
        PredictionsError::Invalid { .. } => failure(FailureClass::User, error.to_string()),
        PredictionsError::Unreadable(_) => failure(FailureClass::Infrastructure, error.to_string()),
    })
}

/// Scores a file of predictions on every part that it has.
pub fn score(file: &[u8]) -> Result<EvaluationScores, PredictionsError> {
    Ok(EvaluationScores {
        validation: score_part(file, Part::Validation)?,
        test: score_part(file, Part::Test)?,
        held_out: score_part(file, Part::HeldOut)?,
    })
}

fn score_part(file: &[u8], part: Part) -> Result<Option<Scores>, PredictionsError> {
    let Some(predictions) = read_part(file, part)? else { return Ok(None) };
    let probabilities = predictions.logits.softmax();
    let evaluation = Evaluation::new(&probabilities, &predictions.labels);
    Ok(Some(evaluation.expect("predictions pair logits and labels of one shape").scores()))
}
