//! Waiting between attempts.

use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(200);

/// Waits that double up to a bound, each drawn from the upper half of its span, so that workers which lost the same
/// coordinator do not come back all at once.
#[derive(Debug)]
pub struct Backoff {
    longest: Duration,
    waits: u32,
}

impl Backoff {
    /// For what is wanted back soon, and costs the other side little to be asked for: a coordinator that comes back is
    /// found again well within a lease.
    pub fn brisk() -> Self {
        Self { longest: Duration::from_secs(2), waits: 0 }
    }

    /// For what costs something to try.
    pub fn patient() -> Self {
        Self { longest: Duration::from_secs(10), waits: 0 }
    }

    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let span = FIRST.saturating_mul(1 << self.waits.min(16)).min(self.longest);
        self.waits += 1;
        span.mul_f64(0.5 + fastrand::f64() / 2.0)
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
        for mut backoff in [Backoff::brisk(), Backoff::patient()] {
            let longest = backoff.longest;
            assert!((FIRST / 2..=FIRST).contains(&backoff.next()));
            for _ in 0..40 {
                assert!(backoff.next() <= longest);
            }
            assert!(backoff.next() >= longest / 2);
            backoff.reset();
            assert!(backoff.next() <= FIRST);
        }
    }
}
