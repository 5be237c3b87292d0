//! Whether a predictor is right as often as it says: the reliability diagram and its expected calibration error.

use crate::predictions::argmax;

/// Number of bins of equal width: 15, as in Guo et al. 2017, "On Calibration of Modern Neural Networks".
pub const BINS: usize = 15;

/// The samples whose confidence (probability of the predicted class) lies in `(b / BINS, (b + 1) / BINS]`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// How many samples fell here.
    pub samples: u64,
    /// Sum of their confidences.
    pub confidence_sum: f64,
    /// How many of them were right.
    pub correct: u64,
}

impl Bin {
    /// `|accuracy - confidence|`, weighted by the number of samples; 0 where there are none.
    fn gap_sum(&self) -> f64 {
        (self.correct as f64 - self.confidence_sum).abs()
    }
}

pub(super) fn bins<'a>(pairs: impl Iterator<Item = (&'a [f64], usize)>) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for (row, label) in pairs {
        let predicted = argmax(row);
        let bin = &mut bins[bin_of(row[predicted])];
        bin.samples += 1;
        bin.confidence_sum += row[predicted];
        bin.correct += u64::from(predicted == label);
    }
    bins
}

/// `sum over bins of n_b / N * |accuracy_b - confidence_b|`.
pub(super) fn expected_error(bins: &[Bin]) -> f64 {
    let samples: u64 = bins.iter().map(|bin| bin.samples).sum();
    bins.iter().map(Bin::gap_sum).sum::<f64>() / samples as f64
}

/// Bins are closed above, so that full confidence falls into the last one.
fn bin_of(confidence: f64) -> usize {
    let upper = (confidence * BINS as f64).ceil();
    (upper as usize).clamp(1, BINS) - 1
}
