//! What was inflicted, and what came of it.

use super::fault::Fault;
use super::stage::Fate;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts by kind of fault.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    by_fault: BTreeMap<Fault, Count>,
    /// Jobs that ended as they do undisturbed.
    pub jobs: usize,
    /// Processes that ended though nobody had asked for it.
    pub deserted: usize,
    /// What must not count, and was found out.
    pub(super) refusals: BTreeMap<&'static str, usize>,
    /// Named figures beside the faults', most of them times.
    figures: BTreeMap<&'static str, Vec<f64>>,
}

/// Of one kind.
#[derive(Clone, Debug, Default)]
struct Count {
    inflicted: usize,
    hits: usize,
    kept: usize,
    anew: usize,
    handed_back: usize,
    seconds: Vec<f64>,
}

impl Tally {
    /// A fault has fired.
    pub fn note(&mut self, fault: Fault, hits: usize) {
        let count = self.by_fault.entry(fault).or_default();
        count.inflicted += 1;
        count.hits += hits;
    }

    /// What became of a run that a fault hit, how long after.
    pub(super) fn note_fate(&mut self, fault: Fault, anew: bool, fate: Fate, after: Duration) {
        let count = self.by_fault.entry(fault).or_default();
        match fate {
            Fate::Kept => count.kept += 1,
            Fate::Anew => count.anew += 1,
            Fate::HandedBack => count.handed_back += 1,
            Fate::Open => return,
        }
        if anew == (fate == Fate::Anew) {
            count.seconds.push(after.as_secs_f64());
        }
    }

    /// Adds to a named figure.
    pub fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.entry(name).or_default().push(value);
    }

    /// How often what must not count was found out, of the kind whose name has this word.
    pub fn found_out(&self, word: &str) -> usize {
        self.refusals.iter().filter(|(name, _)| name.contains(word)).map(|(_, count)| count).sum()
    }

    /// How many faults have fired.
    pub fn faults(&self) -> usize {
        self.by_fault.values().map(|count| count.inflicted).sum()
    }

    /// How many faults of this kind have fired.
    pub fn inflicted(&self, fault: Fault) -> usize {
        self.by_fault.get(&fault).map_or(0, |count| count.inflicted)
    }

    /// How many runs that faults of this kind hit were granted anew.
    pub fn anew(&self, fault: Fault) -> usize {
        self.by_fault.get(&fault).map_or(0, |count| count.anew)
    }

    /// How many runs that faults of this kind hit went on under their lease.
    pub fn kept(&self, fault: Fault) -> usize {
        self.by_fault.get(&fault).map_or(0, |count| count.kept)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} faults survived; {} jobs ended with the bits that they have undisturbed",
            self.faults(),
            self.jobs
        )?;
        writeln!(f, "{} processes ended though nobody had asked for it", self.deserted)?;
        writeln!(
            f,
            "{:22} {:>5} {:>5} {:>5} {:>5} {:>6}  goes on after, s",
            "fault", "times", "hits", "kept", "anew", "handed"
        )?;
        for (fault, Count { inflicted, hits, kept, anew, handed_back, seconds }) in &self.by_fault {
            let name = format!("{fault:?}");
            writeln!(
                f,
                "{name:22} {inflicted:>5} {hits:>5} {kept:>5} {anew:>5} {handed_back:>6}  {}",
                Spread(seconds)
            )?;
        }
        for (name, count) in &self.refusals {
            writeln!(f, "{name}: {count}")?;
        }
        for (name, values) in &self.figures {
            writeln!(f, "{name}: {}", Spread(values))?;
        }
        Ok(())
    }
}

/// Figures by their median, their smallest and their largest.
pub(super) struct Spread<'a>(pub &'a [f64]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.to_vec();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(least), Some(median), Some(most)) => {
                write!(f, "{median:.2} ({least:.2} to {most:.2}), n = {}", sorted.len())
            }
            _ => f.write_str("-"),
        }
    }
}
