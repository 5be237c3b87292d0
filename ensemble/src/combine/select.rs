//! Greedy selection of members by log loss, with replacement (Caruana et al. 2004, "Ensemble Selection from Libraries
//! of Models").

use crate::metrics::PROBABILITY_FLOOR;
use crate::predictions::Invalid;
use crate::weights::{InvalidWeights, Weights};

/// Rounds after which more bring nothing measurable, as AutoGluon's authors found on 200 data sets.
pub const ROUNDS: usize = 25;

/// Upper bound on the rounds, and so on the size of every factor in [`log_loss`].
const ROUNDS_MAX: usize = 10_000;

/// How many probabilities are multiplied before one logarithm is taken. Each is at least 2^-52 and at most
/// `ROUNDS_MAX` < 2^14, so that a product of 16 stays within 2^-832 and 2^224, far from both ends of `f64`.
const FACTORS: usize = 16;

/// Losses that round to the same multiple of this are equal, so that a tie does not hang on the last bit of a sum.
const RESOLUTION: f64 = 1e-9;

/// Which members were chosen, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Candidates in the order of their choice, cut after the round with the lowest loss.
    pub chosen: Vec<usize>,
    /// Log loss after each round, the rounds that were cut off included, in nats.
    pub losses: Vec<f64>,
    /// How often each candidate was chosen.
    pub counts: Vec<u32>,
}

impl Selection {
    /// Each candidate's share of the choices; 0 for those never chosen.
    pub fn weights(&self) -> Result<Weights, InvalidWeights> {
        Weights::new(self.counts.iter().map(|&count| count.into()).collect())
    }

    /// Log loss of the selection.
    pub fn loss(&self) -> f64 {
        self.losses[self.chosen.len() - 1]
    }
}

/// Adds, round by round, the candidate that lowers the log loss of the mean probability most, and keeps the shortest
/// prefix with the lowest loss.
///
/// `true_class` holds for each candidate `[N]` the probabilities it gave to the true classes
/// ([`crate::predictions::Logits::true_class`]); out-of-fold predictions, where there are any, because one small
/// validation set is soon over-fitted. A tie (within 1e-9) goes to a candidate that is already in, then to the lowest index.
/// A round costs one pass over N values for each candidate. `rounds` is cut to `1..=10_000`.
pub fn select(true_class: &[Vec<f64>], rounds: usize) -> Result<Selection, Invalid> {
    let samples = check(true_class)?;
    let candidates: Vec<Vec<f64>> = true_class.iter().map(|member| floored(member)).collect();
    let mut sum = vec![0.0; samples];
    let mut counts = vec![0_u32; candidates.len()];
    let (mut chosen, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..rounds.clamp(1, ROUNDS_MAX) {
        let (best, loss) = next(&candidates, &sum, &counts);
        sum.iter_mut().zip(&candidates[best]).for_each(|(sum, p)| *sum += p);
        counts[best] += 1;
        chosen.push(best);
        losses.push(loss);
    }
    Ok(best_prefix(chosen, losses, candidates.len()))
}

/// The candidate to add, and the loss with it.
fn next(candidates: &[Vec<f64>], sum: &[f64], counts: &[u32]) -> (usize, f64) {
    let size = f64::from(counts.iter().sum::<u32>() + 1);
    let losses = candidates.iter().map(|candidate| log_loss(sum, candidate) + size.ln());
    let rank = |&(candidate, loss): &(usize, f64)| (steps(loss), counts[candidate] == 0);
    losses.enumerate().min_by_key(rank).expect("there is a candidate, as `check` has seen")
}

/// `-mean ln(sum + more)`: one logarithm for every [`FACTORS`] samples.
fn log_loss(sum: &[f64], more: &[f64]) -> f64 {
    let product = |(sum, more): (&[f64], &[f64])| sum.iter().zip(more).map(|(sum, more)| sum + more).product::<f64>();
    let logs = sum.chunks(FACTORS).zip(more.chunks(FACTORS)).map(|pair| product(pair).ln());
    -logs.sum::<f64>() / sum.len() as f64
}

/// A loss, which the floor keeps below 37, in units of [`RESOLUTION`].
fn steps(loss: f64) -> i64 {
    (loss / RESOLUTION).round() as i64
}

fn best_prefix(mut chosen: Vec<usize>, losses: Vec<f64>, candidates: usize) -> Selection {
    let best = (0..losses.len()).min_by_key(|&at| steps(losses[at])).expect("there is at least one round");
    chosen.truncate(best + 1);
    let mut counts = vec![0; candidates];
    chosen.iter().for_each(|&candidate| counts[candidate] += 1);
    Selection { chosen, losses, counts }
}

fn floored(member: &[f64]) -> Vec<f64> {
    member.iter().map(|p| p.max(PROBABILITY_FLOOR)).collect()
}

fn check(true_class: &[Vec<f64>]) -> Result<usize, Invalid> {
    let (first, rest) = true_class.split_first().ok_or(Invalid::Empty("candidates"))?;
    if first.is_empty() {
        return Err(Invalid::Empty("samples"));
    }
    if let Some(other) = rest.iter().find(|other| other.len() != first.len()) {
        return Err(Invalid::Shapes { left: (first.len(), 1), right: (other.len(), 1) });
    }
    for member in true_class {
        if let Some(sample) = member.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(Invalid::NotProbability { sample, class: 0, value: member[sample] });
        }
    }
    Ok(first.len())
}
