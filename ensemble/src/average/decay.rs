//! The decay of an average that is kept along a training run.

/// How much of the old exponential moving average is kept by the update that follows `updates` earlier ones:
/// `average = d * average + (1 - d) * weights`.
///
/// With warm-up it is `min(decay, (1 + n) / (10 + n))`, so that the random weights of the start are soon forgotten
/// (`tf.train.ExponentialMovingAverage` with `num_updates`).
pub fn ema_decay(decay: f64, warmup: bool, updates: u64) -> f64 {
    let n = updates as f64;
    if warmup { decay.min((1.0 + n) / (10.0 + n)) } else { decay }
}
