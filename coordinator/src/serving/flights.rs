//! Predictions that wait for workers. Pure, like the placement.

use ensemble::cluster::Millis;
use ensemble::id::{JobId, WorkerId};
use proto::v1::{MemberLogits, Predicted};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// How many predictions may wait for workers at once: as many as one worker takes. More would only wait longer.
pub(super) const FLIGHTS_MAX: usize = 32;

/// One request, sent to every worker that holds members.
#[derive(Debug)]
pub(super) struct Flight {
    pub job: JobId,
    /// Workers that have not answered, each with the members it holds.
    pub waiting: BTreeMap<WorkerId, BTreeSet<u32>>,
    /// What has come back.
    pub logits: Vec<MemberLogits>,
    /// Why members are missing.
    pub missing: Vec<String>,
    /// When it ends in any case.
    pub deadline: Instant,
}

/// All requests under way, by number, each with whom its answer goes to.
#[derive(Debug)]
pub(super) struct Flights<A> {
    flights: BTreeMap<u64, (Flight, A)>,
    started: u64,
}

impl<A> Flights<A> {
    /// Numbers from the time `now` on, in milliseconds, so that no answer to an earlier coordinator's request is taken for
    /// one of ours: a million requests in each of its milliseconds would be needed to catch up.
    pub(super) fn new(now: Millis) -> Self {
        Self { flights: BTreeMap::new(), started: now << 20 }
    }

    pub(super) fn full(&self) -> bool {
        self.flights.len() >= FLIGHTS_MAX
    }

    /// The number that the next flight will have.
    pub(super) fn next_number(&mut self) -> u64 {
        self.started += 1;
        self.started
    }

    pub(super) fn start(&mut self, number: u64, flight: Flight, asker: A) {
        self.flights.insert(number, (flight, asker));
    }

    /// A worker has answered. Gives the flight back if it was the last to do so.
    pub(super) fn landed(&mut self, worker: &WorkerId, predicted: Predicted) -> Option<(Flight, A)> {
        let (flight, _) = self.flights.get_mut(&predicted.request)?;
        let members = flight.waiting.remove(worker)?;
        if predicted.error.is_empty() {
            // Only what was asked of this worker counts, and only once.
            let mut expected = members;
            flight.logits.extend(predicted.members.into_iter().filter(|logits| expected.remove(&logits.member)));
        } else {
            flight.missing.push(format!("worker `{worker}`: {}", predicted.error));
        }
        self.complete(predicted.request)
    }

    /// A worker has gone, and will answer none of its requests.
    pub(super) fn lost(&mut self, worker: &WorkerId) -> Vec<(Flight, A)> {
        for (flight, _) in self.flights.values_mut() {
            if flight.waiting.remove(worker).is_some() {
                flight.missing.push(format!("worker `{worker}` left"));
            }
        }
        let complete: Vec<u64> = self.numbers(|flight| flight.waiting.is_empty());
        complete.into_iter().filter_map(|number| self.complete(number)).collect()
    }

    /// Ends the flights whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Flight, A)> {
        let late = self.numbers(|flight| flight.deadline <= now);
        let mut late: Vec<_> = late.into_iter().filter_map(|number| self.flights.remove(&number)).collect();
        for (flight, _) in &mut late {
            let waiting = std::mem::take(&mut flight.waiting).into_keys();
            flight.missing.extend(waiting.map(|worker| format!("worker `{worker}` did not answer in time")));
        }
        late
    }

    /// When the first of them ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.flights.values().map(|(flight, _)| flight.deadline).min()
    }

    fn numbers(&self, which: impl Fn(&Flight) -> bool) -> Vec<u64> {
        self.flights.iter().filter(|(_, (flight, _))| which(flight)).map(|(number, _)| *number).collect()
    }

    fn complete(&mut self, number: u64) -> Option<(Flight, A)> {
        if self.flights.get(&number)?.0.waiting.is_empty() { self.flights.remove(&number) } else { None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn worker(name: &str) -> WorkerId {
        WorkerId::new(name)
    }

    fn flights(deadline: Instant) -> Flights<()> {
        let mut flights = Flights::new(0);
        let waiting = [("a", [0, 2]), ("b", [1, 3])].map(|(name, members)| (worker(name), members.into()));
        let (job, waiting) = (JobId::new("shapes-1"), waiting.into());
        flights.start(1, Flight { job, waiting, logits: vec![], missing: vec![], deadline }, ());
        flights
    }

    fn predicted(members: &[u32]) -> Predicted {
        let logits = |member: &u32| MemberLogits { member: *member, ..MemberLogits::default() };
        Predicted { request: 1, members: members.iter().map(logits).collect(), ..Predicted::default() }
    }

    fn members(flight: &Flight) -> Vec<u32> {
        flight.logits.iter().map(|logits| logits.member).collect()
    }

    #[test]
    fn a_flight_ends_with_its_last_worker_and_counts_each_member_once() {
        let mut flights = flights(Instant::now());
        assert!(flights.landed(&worker("a"), predicted(&[0, 0, 1, 2])).is_none());
        assert!(flights.landed(&worker("a"), predicted(&[0])).is_none(), "a worker answers once");
        let (flight, ()) = flights.landed(&worker("b"), predicted(&[1, 3])).unwrap();
        assert_eq!(members(&flight), [0, 2, 1, 3]);
        assert!(flight.missing.is_empty() && flights.landed(&worker("b"), predicted(&[1])).is_none());
    }

    #[test]
    fn a_lost_or_late_worker_ends_the_wait_and_is_named() {
        let deadline = Instant::now();
        let mut flights = flights(deadline);
        flights.landed(&worker("a"), predicted(&[0, 2]));
        let (flight, ()) = flights.lost(&worker("b")).pop().unwrap();
        assert_eq!((members(&flight), flight.missing), (vec![0, 2], vec!["worker `b` left".to_owned()]));

        let mut flights = self::flights(deadline);
        assert!(flights.expire(deadline - Duration::from_millis(1)).is_empty());
        let (flight, ()) = flights.expire(deadline).pop().unwrap();
        assert_eq!(flight.missing.len(), 2);
        assert_eq!(flights.next_deadline(), None);
    }
}
