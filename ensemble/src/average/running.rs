//! Averages that are kept along a training run.

/// The equal-weight mean of all weights added so far (stochastic weight averaging, Izmailov et al. 2018).
///
/// The sum is kept, not the mean, and in `f64`: sums of `f32` values are then exact for any run that fits on earth, so
/// the mean does not drift with the number of updates, and a run that is resumed has the same mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunningMean {
    sums: Vec<f64>,
    count: u64,
}

impl RunningMean {
    /// A mean of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a stored sum of `count` models.
    pub fn resume(sums: Vec<f64>, count: u64) -> Self {
        Self { sums, count }
    }

    /// Adds one model. `false`, and nothing added, where it has another number of weights than those before.
    #[must_use]
    pub fn add(&mut self, weights: &[f32]) -> bool {
        if self.count == 0 {
            self.sums = vec![0.0; weights.len()];
        }
        if self.sums.len() != weights.len() {
            return false;
        }
        self.sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += f64::from(*weight));
        self.count += 1;
        true
    }

    /// How many models were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, to be stored.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// Their mean, rounded once; `None` before the first.
    pub fn mean(&self) -> Option<Vec<f32>> {
        let count = self.count as f64;
        (self.count > 0).then(|| self.sums.iter().map(|sum| (sum / count) as f32).collect())
    }
}

/// How much of the old exponential moving average is kept by the update that follows `updates` earlier ones:
/// `average = d * average + (1 - d) * weights`.
///
/// With warm-up it is `min(decay, (1 + n) / (10 + n))`, so that the random weights of the start are soon forgotten
/// (`tf.train.ExponentialMovingAverage` with `num_updates`).
pub fn ema_decay(decay: f64, warmup: bool, updates: u64) -> f64 {
    let n = updates as f64;
    if warmup { decay.min((1.0 + n) / (10.0 + n)) } else { decay }
}
