//! How much each model counts, in a combination of predictions as in an average of weights.

use std::ops::RangeInclusive;

/// What weights may sum to: with these, no product of a weight and an `f32` overflows or loses digits in `f64`.
const SUM_RANGE: RangeInclusive<f64> = 1e-100..=1e100;

/// Why weights were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidWeights {
    /// No weight at all.
    #[error("no weights: at least one is needed")]
    Empty,
    /// A weight that is negative, NaN or infinite.
    #[error("weight {index} is {value}: it must be finite and not negative")]
    Value {
        /// Position of the weight.
        index: usize,
        /// The weight.
        value: f64,
    },
    /// Weights by whose sum nothing can be divided.
    #[error("weights sum to {0}: at least one must be positive, and the sum between 1e-100 and 1e100")]
    Sum(f64),
}

/// One non-negative weight for each model, with a positive sum. They are kept as given and divided by their sum last:
/// that way the mean of equal `f32` values is exact, which a multiplication by 1/3 is not.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    values: Vec<f64>,
    sum: f64,
}

impl Weights {
    /// Every model counts the same.
    pub fn uniform(models: usize) -> Result<Self, InvalidWeights> {
        Self::new(vec![1.0; models])
    }

    /// Takes weights that need not sum to 1.
    pub fn new(values: Vec<f64>) -> Result<Self, InvalidWeights> {
        if values.is_empty() {
            return Err(InvalidWeights::Empty);
        }
        if let Some(index) = values.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(InvalidWeights::Value { index, value: values[index] });
        }
        let sum: f64 = values.iter().sum();
        if SUM_RANGE.contains(&sum) { Ok(Self { values, sum }) } else { Err(InvalidWeights::Sum(sum)) }
    }

    /// The weights as given.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Their sum, between 1e-100 and 1e100.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The weights divided by their sum, as a report shows them.
    pub fn shares(&self) -> Vec<f64> {
        self.values.iter().map(|weight| weight / self.sum).collect()
    }

    /// How many models they are for: never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.values.len()
    }
}
