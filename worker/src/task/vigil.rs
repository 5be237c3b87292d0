//! The watch over an engine at work: by what it says, and by what the kernel says of it.

use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often an engine is looked at within the shorter of the times that it may take.
const LOOKS: u32 = 8;
/// Looking more often would cost more than it tells.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);

/// How long an engine at work may seem to do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Saying nothing and using no processor time.
    pub stall: Duration,
    /// Using processor time and getting no further.
    pub step: Duration,
}

/// Looks at an engine now and then.
///
/// Time is counted in looks and not read off a clock: while the worker itself is stopped, nobody looks, and nothing
/// counts against the engine.
#[derive(Debug)]
pub struct Vigil {
    patience: Patience,
    every: Duration,
    looks: Interval,
    /// Looks since the engine gave a sign of life, and since it got further.
    still: u32,
    no_further: u32,
    processor_time: Option<u64>,
}

impl Vigil {
    /// Begins the watch.
    pub fn new(patience: Patience) -> Self {
        let every = (patience.stall.min(patience.step) / LOOKS).max(LOOK_EVERY_MIN);
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { patience, every, looks, still: 0, no_further: 0, processor_time: None }
    }

    /// Waits until it is time to look.
    pub async fn look_due(&mut self) {
        self.looks.tick().await;
    }

    /// The engine has got further.
    pub fn got_further(&mut self) {
        (self.still, self.no_further) = (0, 0);
    }

    /// The engine has said something.
    pub fn said_something(&mut self) {
        self.still = 0;
    }

    /// One look: what to reproach the engine with, given the processor time that it has used so far.
    pub fn look(&mut self, processor_time: Option<u64>) -> Option<String> {
        let has_computed = processor_time != self.processor_time;
        self.processor_time = processor_time;
        self.still = if has_computed { 0 } else { self.still + 1 };
        self.no_further += 1;
        let lasts = |looks: u32, limit: Duration| self.every.saturating_mul(looks) > limit;
        let seconds = |limit: Duration| limit.as_secs_f64();
        if lasts(self.still, self.patience.stall) {
            return Some(format!("said nothing and used no processor time for {} s", seconds(self.patience.stall)));
        }
        let what = "computed without getting any further for";
        lasts(self.no_further, self.patience.step).then(|| format!("{what} {} s", seconds(self.patience.step)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks it takes until the engine is reproached, at most `most`.
    fn looks(vigil: &mut Vigil, most: u32, mut processor_time: impl FnMut(u32) -> u64) -> Option<(u32, String)> {
        (1..=most).find_map(|look| Some((look, vigil.look(Some(processor_time(look)))?)))
    }

    fn vigil() -> Vigil {
        Vigil::new(Patience { stall: Duration::from_secs(8), step: Duration::from_secs(20) })
    }

    #[tokio::test]
    async fn stillness_is_noticed_and_any_sign_of_life_ends_it() {
        let (look, why) = looks(&mut vigil(), 99, |_| 5).unwrap_or_default();
        assert_eq!((look, why.as_str()), (10, "said nothing and used no processor time for 8 s"));
        let mut talking = vigil();
        for _ in 0..12 {
            assert_eq!(looks(&mut talking, 1, |_| 5), None);
            talking.said_something();
        }
    }

    #[tokio::test]
    async fn computing_in_circles_is_noticed_later() {
        let (look, why) = looks(&mut vigil(), 99, u64::from).unwrap_or_default();
        assert_eq!((look, why.as_str()), (21, "computed without getting any further for 20 s"));
        let mut going_on = vigil();
        for _ in 0..9 {
            assert_eq!(looks(&mut going_on, 5, u64::from), None);
            going_on.got_further();
        }
    }
}
