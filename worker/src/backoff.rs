//! Waiting between attempts.

use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(200);
/// No wait is longer than this: a coordinator that comes back is found again within it.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double up to a bound, each drawn from the upper half of its span, so that workers which lost the same
/// coordinator do not come back all at once.
#[derive(Debug, Default)]
pub struct Backoff {
    waits: u32,
}

impl Backoff {
    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.waits.min(16)).min(LONGEST);
        self.waits += 1;
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts over, after something worked.
    pub fn reset(&mut self) {
        self.waits = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_no_further() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST);
        for _ in 0..40 {
            assert!(backoff.next() <= LONGEST);
        }
        assert!(backoff.next() >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
