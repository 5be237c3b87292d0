//! The scores of one model.

use super::file::{Part, PredictionsError, read_part};
use super::report::PREDICTIONS_BYTES_MAX;
use crate::patience::{Curable, Cure};
use artifacts::{Store, StoreError};
use ensemble::cluster::{EvaluationScores, Failure, FailureClass};
use ensemble::id::Digest;
use ensemble::metrics::{Evaluation, Scores};

/// Why stored predictions have no scores.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// They are not in the store, or damaged there, or too large.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They are not usable.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
}

impl Curable for ScoreError {
    fn cure(&self) -> Cure {
        match self {
            Self::Store(error) => error.cure(),
            Self::Predictions(_) => Cure::None,
        }
    }
}

/// How the task that made the predictions failed: those that make no sense will make none the next time either, while
/// what became of them on their way may not happen again.
impl From<ScoreError> for Failure {
    fn from(error: ScoreError) -> Self {
        let class = match error {
            ScoreError::Store(StoreError::TooLargeToRead { .. }) => FailureClass::User,
            ScoreError::Predictions(PredictionsError::Invalid { .. }) => FailureClass::User,
            ScoreError::Store(_) | ScoreError::Predictions(PredictionsError::Unreadable(_)) => {
                FailureClass::Infrastructure
            }
        };
        Self { class, message: error.to_string() }
    }
}

/// Scores stored predictions. Blocks.
pub fn score_stored(store: &Store, predictions: &Digest) -> Result<EvaluationScores, ScoreError> {
    Ok(score(&store.blocking_read(predictions, PREDICTIONS_BYTES_MAX)?)?)
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
