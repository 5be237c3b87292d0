//! How much each member counts.

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
    /// Weights that cannot be normalized.
    #[error("weights sum to {0}: at least one must be positive, and the sum finite")]
    Sum(f64),
}

/// Non-negative weights that sum to 1, one for each member.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(Vec<f64>);

impl Weights {
    /// Every member counts the same.
    pub fn uniform(members: usize) -> Result<Self, InvalidWeights> {
        Self::new(&vec![1.0; members])
    }

    /// Normalizes the given weights to sum to 1.
    pub fn new(raw: &[f64]) -> Result<Self, InvalidWeights> {
        let sum = checked_sum(raw)?;
        Ok(Self(raw.iter().map(|weight| weight / sum).collect()))
    }

    /// The weights, one for each member.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// How many members they are for: never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The sum of weights that are each finite and not negative; itself finite and positive.
pub(crate) fn checked_sum(raw: &[f64]) -> Result<f64, InvalidWeights> {
    if raw.is_empty() {
        return Err(InvalidWeights::Empty);
    }
    if let Some(index) = raw.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        return Err(InvalidWeights::Value { index, value: raw[index] });
    }
    let sum: f64 = raw.iter().sum();
    if sum.is_finite() && sum > 0.0 { Ok(sum) } else { Err(InvalidWeights::Sum(sum)) }
}
