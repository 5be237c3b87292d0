//! How good predictions are: accuracy, log loss, Brier score and calibration error of one predictor, and how much the
//! members of an ensemble differ ([`diversity`]).
//!
//! Everything accumulates in `f64` and in sample order, so a figure is the same on every machine. Inputs are checked
//! when they are built ([`crate::predictions`]): no metric can silently be NaN.

pub mod calibration;
pub mod diversity;

pub use calibration::{BINS, Bin};
pub use diversity::{disagreement, entropy, mutual_information, predictive_entropy};

use crate::predictions::{Invalid, Labels, Probabilities, argmax, same_shape};
use serde::{Deserialize, Serialize};

/// Smallest probability that enters a logarithm, so that one certain mistake costs 36.04 nats and not infinity.
/// The same floor as scikit-learn's `log_loss` on double precision.
pub const PROBABILITY_FLOOR: f64 = f64::EPSILON;

/// The figures that a report shows for one predictor on one set of samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of samples whose most probable class is the true one; on ties the lowest class counts.
    pub accuracy: f64,
    /// Mean negative log likelihood of the true class, in nats; see [`PROBABILITY_FLOOR`].
    pub nll: f64,
    /// Mean over samples of the squared error summed over classes, in `[0, 2]` (Brier 1950).
    pub brier: f64,
    /// Expected calibration error, top label, [`BINS`] bins of equal width, in `[0, 1]` (Guo et al. 2017).
    pub ece: f64,
    /// How many samples the figures rest on.
    pub samples: u64,
}

/// Probabilities beside the labels of the same samples.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    probabilities: &'a Probabilities,
    labels: &'a Labels,
}

impl<'a> Evaluation<'a> {
    /// Pairs them; refused where samples or classes differ.
    pub fn new(probabilities: &'a Probabilities, labels: &'a Labels) -> Result<Self, Invalid> {
        same_shape(probabilities.shape(), labels.shape())?;
        Ok(Self { probabilities, labels })
    }

    /// Every figure at once.
    pub fn scores(&self) -> Scores {
        Scores {
            accuracy: self.accuracy(),
            nll: self.nll(),
            brier: self.brier(),
            ece: self.ece(),
            samples: self.labels.values().len() as u64,
        }
    }

    /// See [`Scores::accuracy`].
    pub fn accuracy(&self) -> f64 {
        self.mean(|row, label| f64::from(argmax(row) == label))
    }

    /// See [`Scores::nll`].
    pub fn nll(&self) -> f64 {
        self.mean(|row, label| -row[label].clamp(PROBABILITY_FLOOR, 1.0).ln())
    }

    /// See [`Scores::brier`].
    pub fn brier(&self) -> f64 {
        self.mean(|row, label| {
            let errors = row.iter().enumerate().map(|(class, p)| p - f64::from(class == label));
            errors.map(|error| error * error).sum()
        })
    }

    /// See [`Scores::ece`].
    pub fn ece(&self) -> f64 {
        calibration::expected_error(&self.reliability())
    }

    /// The reliability diagram that [`Evaluation::ece`] sums up.
    pub fn reliability(&self) -> [Bin; BINS] {
        calibration::bins(self.pairs())
    }

    fn pairs(&self) -> impl Iterator<Item = (&[f64], usize)> {
        self.probabilities.rows().zip(self.labels.indices())
    }

    fn mean(&self, of: impl Fn(&[f64], usize) -> f64) -> f64 {
        self.pairs().map(|(row, label)| of(row, label)).sum::<f64>() / self.labels.values().len() as f64
    }
}
