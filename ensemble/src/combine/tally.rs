//! The ensemble's answer to a batch, built up member by member.

use super::CombineError;
use crate::job::Combine;
use crate::metrics::{diversity, entropy};
use crate::predictions::{Invalid, Logits, Probabilities, argmax, same_shape, softmax_in_place};

/// Running sums over the members that have answered a batch of `[N, K]`. A worker adds its own members and the
/// coordinator merges the tallies of the workers, so that the wire carries one tally and not every member's logits.
///
/// Merging in a fixed order gives the same bits; another order differs by rounding alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    rule: Combine,
    classes: usize,
    /// How many members were added.
    members: u32,
    /// Sum of their weights.
    weight: f64,
    /// `[N, K]`, weighted: what `rule` sums up.
    scores: Vec<f64>,
    /// `[N, K]`, weighted: probabilities.
    probabilities: Vec<f64>,
    /// `[N]`, weighted: each member's own entropy.
    entropies: Vec<f64>,
    /// `[N, K]`: members that predicted the class.
    votes: Vec<u32>,
}

/// What the ensemble says about a batch, and how sure it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The ensemble's probabilities.
    pub probabilities: Probabilities,
    /// `[N]`: most probable class, the lowest on a tie.
    pub predicted: Vec<u32>,
    /// `[N]`, nats: entropy of the members' mean probabilities.
    pub entropy: Vec<f64>,
    /// `[N]`, nats: [`crate::metrics::mutual_information`].
    pub mutual_information: Vec<f64>,
    /// `[N]`: share of pairs of members that predict different classes.
    pub disagreement: Vec<f64>,
    /// `[N]`: how many members predict what the ensemble predicts.
    pub agreeing: Vec<u32>,
    /// How many members answered.
    pub members: u32,
}

impl Tally {
    /// A tally to which nobody has contributed, for `samples` × `classes`.
    pub fn new(rule: Combine, samples: usize, classes: usize) -> Self {
        let zeros = vec![0.0; samples * classes];
        Self {
            rule,
            classes,
            members: 0,
            weight: 0.0,
            scores: zeros.clone(),
            probabilities: zeros,
            entropies: vec![0.0; samples],
            votes: vec![0; samples * classes],
        }
    }

    /// Adds one member's answer. `weight` must be positive and finite, as [`crate::weights::Weights`] gives them.
    pub fn add(&mut self, logits: &Logits, weight: f64) -> Result<(), Invalid> {
        same_shape(self.shape(), logits.shape())?;
        let mut row = vec![0.0; self.classes];
        for (sample, logits) in logits.rows().enumerate() {
            row.iter_mut().zip(logits).for_each(|(score, &logit)| *score = logit.into());
            self.add_row(sample, &mut row, weight);
        }
        self.members += 1;
        self.weight += weight;
        Ok(())
    }

    fn add_row(&mut self, sample: usize, row: &mut [f64], weight: f64) {
        let span = sample * self.classes..(sample + 1) * self.classes;
        self.votes[span.start + argmax(row)] += 1;
        let mut own = row.to_vec();
        self.rule.contribute(row, weight, &mut self.scores[span.clone()]);
        softmax_in_place(&mut own);
        self.entropies[sample] += weight * entropy(&own);
        self.probabilities[span].iter_mut().zip(own).for_each(|(sum, p)| *sum += weight * p);
    }

    /// Adds what another tally has counted of the same batch.
    pub fn merge(&mut self, other: &Self) -> Result<(), Invalid> {
        same_shape(self.shape(), other.shape())?;
        let add = |sums: &mut [f64], more: &[f64]| sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        add(&mut self.scores, &other.scores);
        add(&mut self.probabilities, &other.probabilities);
        add(&mut self.entropies, &other.entropies);
        self.votes.iter_mut().zip(&other.votes).for_each(|(sum, more)| *sum += more);
        self.members += other.members;
        self.weight += other.weight;
        Ok(())
    }

    /// How many members were added.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// Samples and classes.
    pub fn shape(&self) -> (usize, usize) {
        (self.entropies.len(), self.classes)
    }

    /// The ensemble's answer; refused while no member has answered.
    pub fn answer(mut self) -> Result<Answer, CombineError> {
        if self.members == 0 {
            return Err(Invalid::Empty("members").into());
        }
        self.probabilities.iter_mut().for_each(|sum| *sum /= self.weight);
        self.scores.chunks_exact_mut(self.classes).for_each(|sum| self.rule.settle(self.weight, sum));
        let probabilities = Probabilities::new(self.scores, self.classes)?;
        let predicted = probabilities.predicted();
        let entropies: Vec<f64> = self.probabilities.chunks_exact(self.classes).map(entropy).collect();
        let own = self.entropies.iter().map(|sum| sum / self.weight);
        let votes = || self.votes.chunks_exact(self.classes);
        Ok(Answer {
            mutual_information: entropies.iter().zip(own).map(|(total, own)| (total - own).max(0.0)).collect(),
            entropy: entropies,
            disagreement: votes().map(diversity::split).collect(),
            agreeing: votes().zip(&predicted).map(|(votes, &class)| votes[class as usize]).collect(),
            predicted,
            probabilities,
            members: self.members,
        })
    }
}
