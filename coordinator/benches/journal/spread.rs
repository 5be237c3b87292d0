//! Figures side by side.

use std::fmt;

/// Figures by their median, their smallest and their largest.
pub struct Spread(pub Vec<f64>);

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let digits = if sorted.first().is_some_and(|least| *least < 100.0) { 2 } else { 0 };
        match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(least), Some(median), Some(most)) => {
                write!(f, "{median:.digits$} [{least:.digits$}, {most:.digits$}]")
            }
            _ => f.write_str("-"),
        }
    }
}

/// Each of some figures by the one that was measured beside it.
pub fn ratios(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(this, that)| this / that).collect()
}
