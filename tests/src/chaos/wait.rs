//! Waiting for what must come, with a bound that only a bug reaches.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// What must come does so within this time on cores that are busy with other things, or never.
const WITHIN: Duration = Duration::from_secs(600);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until there is something.
pub fn patiently<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(WITHIN, look).unwrap_or_else(|| panic!("it does not happen within {} s that {what}", WITHIN.as_secs()))
}

/// Looks until it is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    patiently(what, || is_so().then_some(()));
}

/// Looks until there is something, or the time is over.
pub fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(LOOK_EVERY);
    }
}
