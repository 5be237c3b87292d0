//! How much the members of an ensemble differ, and how uncertain that makes their answer.
//!
//! Entropies are in nats, with `0 ln 0 = 0`.

use crate::predictions::{Invalid, Probabilities, argmax, same_shape};

/// Mean, over samples and pairs of members, of whether the two predict different classes, in `[0, 1]`.
/// One member alone disagrees with nobody: 0.
pub fn disagreement(members: &[&Probabilities]) -> Result<f64, Invalid> {
    let (samples, classes) = shared_shape(members)?;
    let mut rows: Vec<_> = members.iter().map(|member| member.rows()).collect();
    let mut votes = vec![0_u32; classes];
    let mut sum = 0.0;
    for _ in 0..samples {
        votes.fill(0);
        rows.iter_mut().flat_map(Iterator::next).for_each(|row| votes[argmax(row)] += 1);
        sum += split(&votes);
    }
    Ok(sum / samples as f64)
}

/// Share of pairs of voters that differ, from the votes for each class; 0 for fewer than two voters.
/// Counting pairs within classes costs K, not the square of the number of members.
pub fn split(votes: &[u32]) -> f64 {
    let pairs = |count: u64| count * count.saturating_sub(1) / 2;
    let all = pairs(votes.iter().map(|&count| u64::from(count)).sum());
    let agreeing: u64 = votes.iter().map(|&count| pairs(count.into())).sum();
    if all == 0 { 0.0 } else { (all - agreeing) as f64 / all as f64 }
}

/// Entropy of one distribution, in `[0, ln K]`.
pub fn entropy(row: &[f64]) -> f64 {
    row.iter().filter(|&&p| p > 0.0).map(|&p| -p * p.ln()).sum::<f64>().max(0.0)
}

/// Entropy of each sample's distribution, `[N]`. Of an ensemble's mean probabilities it is the total uncertainty.
pub fn predictive_entropy(probabilities: &Probabilities) -> Vec<f64> {
    probabilities.rows().map(entropy).collect()
}

/// Mutual information between the prediction and the choice of member, `[N]`: the entropy of the mean minus the mean
/// of the entropies, in `[0, ln M]` (BALD; Houlsby et al. 2011). It is the part of the uncertainty that comes from the
/// members' disagreement, not from the data.
pub fn mutual_information(members: &[&Probabilities]) -> Result<Vec<f64>, Invalid> {
    let (samples, classes) = shared_shape(members)?;
    let mut rows: Vec<_> = members.iter().map(|member| member.rows()).collect();
    let mut information = Vec::with_capacity(samples);
    let mut mean = vec![0.0; classes];
    for _ in 0..samples {
        mean.fill(0.0);
        let mut own_entropy = 0.0;
        for row in rows.iter_mut().flat_map(Iterator::next) {
            mean.iter_mut().zip(row).for_each(|(sum, p)| *sum += p);
            own_entropy += entropy(row);
        }
        let count = members.len() as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        // Jensen's inequality makes it non-negative; rounding may not.
        information.push((entropy(&mean) - own_entropy / count).max(0.0));
    }
    Ok(information)
}

fn shared_shape(members: &[&Probabilities]) -> Result<(usize, usize), Invalid> {
    let (first, rest) = members.split_first().ok_or(Invalid::Empty("members"))?;
    rest.iter().try_for_each(|member| same_shape(first.shape(), member.shape()))?;
    Ok(first.shape())
}
