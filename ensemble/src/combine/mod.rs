//! From the answers of K members to the answer of the ensemble.
//!
//! [`combine`] works on whole sets of samples, for evaluation; [`Tally`] adds members as they arrive, for serving.
//! Both follow the same [`Combine`] rule:
//!
//! - `mean_probability`: the weighted mean of the members' probabilities;
//! - `mean_logit`: the softmax of the weighted mean of their logits, which is the normalized geometric mean of their
//!   probabilities;
//! - `majority_vote`: each member gives its weight to its predicted class, and shares of the votes stand for
//!   probabilities. A tie goes to the lowest class, within a member and between classes.
//!
//! [`select`] chooses members greedily and [`Temperature`] calibrates the result.

mod select;
mod tally;
mod temperature;

pub use select::{ROUNDS, Selection, select};
pub use tally::{Answer, Tally};
pub use temperature::Temperature;

use crate::job::Combine;
use crate::predictions::{Invalid, Logits, Probabilities, argmax, same_shape, softmax_in_place};
use crate::weights::Weights;

/// Why members could not be combined.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CombineError {
    /// The members' predictions are missing or do not fit together.
    #[error(transparent)]
    Predictions(#[from] Invalid),
    /// There is not one weight for each member.
    #[error("{weights} weights for {members} members: give one weight for each")]
    WeightCount {
        /// How many weights were given.
        weights: usize,
        /// How many members there are.
        members: usize,
    },
}

/// Combines members sample by sample, in the order given, so that the result does not depend on threads or timing.
pub fn combine(rule: Combine, members: &[&Logits], weights: &Weights) -> Result<Probabilities, CombineError> {
    let (samples, classes) = shared_shape(members)?;
    if weights.len() != members.len() {
        return Err(CombineError::WeightCount { weights: weights.len(), members: members.len() });
    }
    let mut values = vec![0.0; samples * classes];
    let mut scratch = vec![0.0; classes];
    for (sample, sum) in values.chunks_exact_mut(classes).enumerate() {
        for (member, weight) in members.iter().zip(weights.values()) {
            scratch.iter_mut().zip(member.row(sample)).for_each(|(score, &logit)| *score = logit.into());
            rule.contribute(&mut scratch, *weight, sum);
        }
        rule.settle(weights.sum(), sum);
    }
    Ok(Probabilities::trusted(values, classes))
}

impl Combine {
    /// Adds one member's logits, which it may overwrite, to the running sum of a sample.
    fn contribute(self, logits: &mut [f64], weight: f64, sum: &mut [f64]) {
        match self {
            Self::MeanProbability => softmax_in_place(logits),
            Self::MeanLogit => (),
            Self::MajorityVote => one_hot(logits),
        }
        sum.iter_mut().zip(logits).for_each(|(sum, score)| *sum += weight * *score);
    }

    /// Turns the sum over members, whose weights sum to `weight`, into probabilities.
    fn settle(self, weight: f64, sum: &mut [f64]) {
        sum.iter_mut().for_each(|score| *score /= weight);
        if self == Self::MeanLogit {
            softmax_in_place(sum);
        }
    }
}

fn one_hot(row: &mut [f64]) {
    let winner = argmax(row);
    row.fill(0.0);
    row[winner] = 1.0;
}

fn shared_shape(members: &[&Logits]) -> Result<(usize, usize), Invalid> {
    let (first, rest) = members.split_first().ok_or(Invalid::Empty("members"))?;
    rest.iter().try_for_each(|member| same_shape(first.shape(), member.shape()))?;
    Ok(first.shape())
}
