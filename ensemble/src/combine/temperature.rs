//! Temperature scaling (Guo et al. 2017): one scalar, fitted on validation data, that makes confidence match accuracy
//! and leaves every predicted class as it is.

use crate::metrics::PROBABILITY_FLOOR;
use crate::predictions::{Invalid, Labels, Logits, Probabilities, same_shape, softmax_in_place};

/// The inverse temperature is searched in this range. Its ends are reached where every sample is classified right
/// (colder is always better) or the scores say nothing (hotter is always better).
const INVERSE_RANGE: (f64, f64) = (0.01, 100.0);

/// Relative change of the inverse temperature at which the search ends, well inside the 1e-6 that is promised.
const TOLERANCE: f64 = 1e-10;

/// Newton converges in under ten steps; bisection alone would need 47 for [`INVERSE_RANGE`].
const ITERATIONS_MAX: usize = 100;

/// A divisor of logits: above 1 it lowers confidence, below 1 it raises it. Within `[0.01, 100]`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Temperature(f64);

impl Temperature {
    /// Leaves probabilities as they are.
    pub const ONE: Self = Self(1.0);

    /// Takes a stored temperature; `None` where it is not within `[0.01, 100]`.
    pub fn new(value: f64) -> Option<Self> {
        (INVERSE_RANGE.0..=INVERSE_RANGE.1).contains(&value).then_some(Self(value))
    }

    /// The divisor.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The temperature at which `softmax(logits / T)` has the lowest log loss, to 1e-6. Deterministic.
    pub fn fit(logits: &Logits, labels: &Labels) -> Result<Self, Invalid> {
        same_shape(logits.shape(), labels.shape())?;
        let scores = logits.rows().flatten().map(|&score| score.into()).collect();
        Ok(Self::fit_scores(scores, labels))
    }

    /// As [`Temperature::fit`], for an ensemble: its log probabilities stand for logits. Calibrating the combined
    /// prediction is better than combining calibrated members, which are under-confident together
    /// (Rahaman and Thiery 2021).
    pub fn fit_probabilities(probabilities: &Probabilities, labels: &Labels) -> Result<Self, Invalid> {
        same_shape(probabilities.shape(), labels.shape())?;
        let scores = probabilities.rows().flatten().map(|&p| log_floored(p)).collect();
        Ok(Self::fit_scores(scores, labels))
    }

    /// `softmax(ln p / T)` of every row.
    pub fn apply(self, probabilities: &Probabilities) -> Probabilities {
        let classes = probabilities.shape().1;
        let mut values: Vec<f64> = probabilities.rows().flatten().map(|&p| log_floored(p) / self.0).collect();
        values.chunks_exact_mut(classes).for_each(softmax_in_place);
        Probabilities::trusted(values, classes)
    }

    /// The loss is convex in the inverse temperature b, with slope `sum(E_b[z] - z_true)` and curvature `sum(Var_b[z])`:
    /// Newton's method, kept inside a bracket. Where a step leaves the bracket or is not at most half the one before,
    /// the bracket is halved instead (on a logarithmic scale), because on nearly separable data Newton only creeps.
    fn fit_scores(mut scores: Vec<f64>, labels: &Labels) -> Self {
        let classes = labels.shape().1;
        scores.chunks_exact_mut(classes).for_each(center);
        let derivatives = |inverse| derivatives(&scores, classes, labels, inverse);
        let (mut low, mut high) = INVERSE_RANGE;
        if derivatives(high).0 < 0.0 {
            return Self(1.0 / high);
        }
        if derivatives(low).0 > 0.0 {
            return Self(1.0 / low);
        }
        let (mut inverse, mut moved) = (1.0, f64::INFINITY);
        for _ in 0..ITERATIONS_MAX {
            let (slope, curvature) = derivatives(inverse);
            if slope == 0.0 || moved <= TOLERANCE * inverse {
                break;
            }
            if slope > 0.0 {
                high = inverse
            } else {
                low = inverse
            };
            let newton = inverse - slope / curvature;
            let takes_newton = newton > low && newton < high && (newton - inverse).abs() <= moved / 2.0;
            let next = if takes_newton { newton } else { (low * high).sqrt() };
            moved = (next - inverse).abs();
            inverse = next;
        }
        Self(1.0 / inverse)
    }
}

/// Moves the largest score of a row to 0, which changes no softmax and keeps exponentials from overflowing.
fn center(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|score| *score -= largest);
}

/// First and second derivative, by the inverse temperature, of the summed log loss.
fn derivatives(scores: &[f64], classes: usize, labels: &Labels, inverse: f64) -> (f64, f64) {
    let (mut slope, mut curvature) = (0.0, 0.0);
    for (row, label) in scores.chunks_exact(classes).zip(labels.indices()) {
        let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
        for &score in row {
            let weight = (inverse * score).exp();
            mass += weight;
            first += weight * score;
            second += weight * score * score;
        }
        let mean = first / mass;
        slope += mean - row[label];
        curvature += second / mass - mean * mean;
    }
    (slope, curvature)
}

fn log_floored(p: f64) -> f64 {
    p.clamp(PROBABILITY_FLOOR, 1.0).ln()
}
