//! Reports that are not recorded yet: kept for the life of the process, and sent again in each new session.

use super::super::wire::{FromWorker, Report};
use ensemble::cluster::LeaseKey;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct Outbox {
    numbers: u64,
    kept: VecDeque<(u64, Box<Report>)>,
}

impl Outbox {
    /// Numbers a report, keeps it, and gives the message that carries it.
    pub fn add(&mut self, report: Report) -> FromWorker {
        self.numbers += 1;
        let report = Box::new(report);
        self.kept.push_back((self.numbers, report.clone()));
        FromWorker::Report { number: self.numbers, report }
    }

    pub fn recorded(&mut self, number: u64) {
        self.kept.retain(|(kept, _)| *kept > number);
    }

    /// All that is not recorded, in order.
    pub fn again(&self) -> Vec<FromWorker> {
        self.kept
            .iter()
            .map(|(number, report)| FromWorker::Report { number: *number, report: report.clone() })
            .collect()
    }

    /// Whether the last word on a lease is said and not recorded.
    pub fn awaits(&self, lease: &LeaseKey) -> bool {
        self.kept.iter().any(|(_, report)| report.last && report.lease == *lease)
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
