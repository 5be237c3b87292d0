//! From files of predictions to scores and reports.

mod file;
mod report;
mod score;

pub use file::{Part, Predictions, PredictionsError, read_part};
pub use report::{PREDICTIONS_BYTES_MAX, ReportError, ReportInput, report};
pub use score::{ScoreError, score, score_stored};
