//! How much of what a task writes is sent on.

use std::time::Duration;
use tokio::time::Instant;

/// Lines that may come at once.
const BURST: u32 = 200;
/// Lines a second, in the long run.
const LINES_PER_SECOND: f64 = 20.0;

/// Lets lines through at a bounded rate, and says how many it held back.
#[derive(Debug)]
pub struct LogBudget {
    lines: f64,
    counted_at: Instant,
    held_back: u64,
}

impl LogBudget {
    /// A full budget.
    pub fn new(now: Instant) -> Self {
        Self { lines: f64::from(BURST), counted_at: now, held_back: 0 }
    }

    /// What to send on of this line: the line, after the number of lines held back before it; or nothing.
    pub fn admit(&mut self, now: Instant, line: String) -> Option<String> {
        let earned = (now - self.counted_at).min(Duration::from_secs(3600)).as_secs_f64() * LINES_PER_SECOND;
        self.lines = (self.lines + earned).min(f64::from(BURST));
        self.counted_at = now;
        if self.lines < 1.0 {
            self.held_back += 1;
            return None;
        }
        self.lines -= 1.0;
        match std::mem::take(&mut self.held_back) {
            0 => Some(line),
            held_back => Some(format!("({held_back} lines left out)\n{line}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut budget = LogBudget::new(start);
        let admitted = (0..BURST + 7).filter_map(|_| budget.admit(start, "line".to_owned())).count();
        assert_eq!(admitted, BURST as usize);

        let later = start + Duration::from_secs(1);
        assert_eq!(budget.admit(later, "next".to_owned()).as_deref(), Some("(7 lines left out)\nnext"));
        assert_eq!(budget.admit(later, "last".to_owned()).as_deref(), Some("last"));
    }
}
