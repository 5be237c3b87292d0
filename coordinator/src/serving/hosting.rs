//! Which worker holds which members of one ensemble, and whether they answer. Pure: what must be sent is returned.

use super::Served;
use ensemble::id::WorkerId;
use proto::v1::{Host, HostedModel, Unhost, to_worker::Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be sent, and to whom.
pub(super) type Orders = Vec<(WorkerId, Message)>;

/// One ensemble on the workers.
#[derive(Debug)]
pub(super) struct Hosting {
    served: Arc<Served>,
    shares: BTreeMap<WorkerId, Share>,
}

/// One worker's part of it.
#[derive(Debug)]
pub(super) struct Share {
    /// What the worker knows it by. Made of the job and the members, so that another set of members is another predictor:
    /// what a worker says of an earlier set is never taken for this one, and a worker that comes back with the same set
    /// has it loaded already.
    pub predictor: String,
    /// Never empty.
    pub members: BTreeSet<u32>,
    state: State,
}

/// ```text
///   Loading ── hosted ──▶ Answering
///    ▲ ▲ └──── error ────▶ Failed
///    │ └────── retry ────────┘
///    └──────── joined ────── Away ◀── lost ── any
/// ```
/// The worker's engine may die and come back, so each of the first three may also follow any other.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Loading,
    Answering,
    Failed(String),
    /// The worker's session broke.
    Away,
}

impl Hosting {
    /// Places the members over the workers there are.
    pub(super) fn new(served: Arc<Served>, workers: &BTreeSet<WorkerId>) -> (Self, Orders) {
        let mut hosting = Self { served, shares: BTreeMap::new() };
        let orders = hosting.place_anew(workers);
        (hosting, orders)
    }

    pub(super) fn served(&self) -> &Arc<Served> {
        &self.served
    }

    /// Whether all members answer.
    pub(super) fn ready(&self) -> bool {
        self.answering().map(|(_, share)| share.members.len()).sum::<usize>() == self.served.members.len()
    }

    /// The workers that answer, each with its share.
    pub(super) fn answering(&self) -> impl Iterator<Item = (&WorkerId, &Share)> {
        self.shares.iter().filter(|(_, share)| share.state == State::Answering)
    }

    /// The members that do not answer, and why.
    pub(super) fn missing(&self) -> Vec<String> {
        let members = self.served.members.iter();
        members.filter_map(|member| Some(format!("`{}` ({})", member.name, self.why_silent(member.index)?))).collect()
    }

    fn why_silent(&self, member: u32) -> Option<String> {
        match self.shares.iter().find(|(_, share)| share.members.contains(&member)) {
            None => Some("on no worker".to_owned()),
            Some((worker, share)) => match &share.state {
                State::Answering => None,
                State::Loading => Some(format!("worker `{worker}` is loading it")),
                State::Failed(error) => Some(format!("worker `{worker}`: {error}")),
                State::Away => Some(format!("contact with worker `{worker}` is lost")),
            },
        }
    }

    /// A worker has come. One that is back gets its members again, and says at once if it has them loaded still. For any
    /// other, an ensemble that answers is left alone, and one that does not is spread over all workers.
    pub(super) fn joined(&mut self, worker: &WorkerId, workers: &BTreeSet<WorkerId>) -> Orders {
        if let Some(share) = self.shares.get_mut(worker) {
            share.state = State::Loading;
            return vec![(worker.clone(), host(&self.served, share))];
        }
        if self.ready() { Orders::new() } else { self.place_anew(workers) }
    }

    /// A worker's session broke. Its members stay its own for a while.
    pub(super) fn lost(&mut self, worker: &WorkerId) {
        if let Some(share) = self.shares.get_mut(worker) {
            share.state = State::Away;
        }
    }

    /// A worker has gone: its members move to those with the fewest.
    pub(super) fn left(&mut self, worker: &WorkerId, workers: &BTreeSet<WorkerId>) -> Orders {
        let Some(lost) = self.shares.remove(worker) else { return Orders::new() };
        let members = |worker| self.shares.get(worker).map(|share| share.members.clone()).unwrap_or_default();
        let mut wanted: BTreeMap<_, _> = workers.iter().map(|worker| (worker.clone(), members(worker))).collect();
        for member in lost.members {
            if let Some(fewest) = wanted.values_mut().min_by_key(|members| members.len()) {
                fewest.insert(member);
            }
        }
        self.change_to(wanted)
    }

    /// A worker says how it stands with a predictor.
    pub(super) fn hosted(&mut self, worker: &WorkerId, predictor: &str, error: &str) {
        if let Some(share) = self.shares.get_mut(worker).filter(|share| share.predictor == predictor) {
            share.state = if error.is_empty() { State::Answering } else { State::Failed(error.to_owned()) };
        }
    }

    /// Orders again what could not be loaded.
    pub(super) fn retry(&mut self) -> Orders {
        let failed = self.shares.iter_mut().filter(|(_, share)| matches!(share.state, State::Failed(_)));
        let order = |(worker, share): (&WorkerId, &mut Share)| {
            share.state = State::Loading;
            (worker.clone(), host(&self.served, share))
        };
        failed.map(order).collect()
    }

    /// One member after the other over all workers.
    fn place_anew(&mut self, workers: &BTreeSet<WorkerId>) -> Orders {
        let mut wanted: BTreeMap<_, _> = workers.iter().map(|worker| (worker.clone(), BTreeSet::new())).collect();
        for (member, worker) in self.served.members.iter().zip(workers.iter().cycle()) {
            wanted.entry(worker.clone()).or_default().insert(member.index);
        }
        self.change_to(wanted)
    }

    fn change_to(&mut self, wanted: BTreeMap<WorkerId, BTreeSet<u32>>) -> Orders {
        wanted.into_iter().flat_map(|(worker, members)| self.give(&worker, members)).collect()
    }

    /// Gives a worker its share. The new one is ordered before the old one is given up, so that the worker's engine is
    /// never without work and need not start again.
    fn give(&mut self, worker: &WorkerId, members: BTreeSet<u32>) -> Orders {
        if self.shares.get(worker).is_some_and(|share| share.members == members) {
            return Orders::new();
        }
        let old = self.shares.remove(worker);
        let mut orders = Orders::new();
        if !members.is_empty() {
            let share = Share { predictor: name(&self.served, &members), members, state: State::Loading };
            orders.push((worker.clone(), host(&self.served, &share)));
            self.shares.insert(worker.clone(), share);
        }
        orders.extend(old.map(|old| (worker.clone(), Message::Unhost(Unhost { predictor: old.predictor }))));
        orders
    }
}

/// Such as `fashion-mnist-1/0+2+4`.
fn name(served: &Served, members: &BTreeSet<u32>) -> String {
    let members: Vec<_> = members.iter().map(u32::to_string).collect();
    format!("{}/{}", served.job, members.join("+"))
}

fn host(served: &Served, share: &Share) -> Message {
    let members = served.members.iter().filter(|member| share.members.contains(&member.index));
    let model = |member: &super::ServedMember| HostedModel {
        member: member.index,
        artifact: Some(member.artifact.clone().into()),
    };
    Message::Host(Host { predictor: share.predictor.clone(), models: members.map(model).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::served::tests::served;
    use super::*;

    fn workers(names: &[&str]) -> BTreeSet<WorkerId> {
        names.iter().map(|name| WorkerId::new(*name)).collect()
    }

    /// Orders as text: `worker + predictor` for a load, `worker - predictor` for its end.
    fn script(orders: Orders) -> String {
        let line = |(worker, message)| match message {
            Message::Host(host) => format!("{worker} + {}", host.predictor),
            Message::Unhost(unhost) => format!("{worker} - {}", unhost.predictor),
            _ => "?".to_owned(),
        };
        orders.into_iter().map(line).collect::<Vec<_>>().join("; ")
    }

    fn loaded(hosting: &mut Hosting, worker: &str, predictor: &str) {
        hosting.hosted(&WorkerId::new(worker), predictor, "");
    }

    #[test]
    fn members_go_round_the_workers_and_move_when_one_leaves() {
        let (mut hosting, orders) = Hosting::new(Arc::new(served(5)), &workers(&["a", "b"]));
        assert_eq!(script(orders), "a + shapes-1/0+2+4; b + shapes-1/1+3");
        loaded(&mut hosting, "a", "shapes-1/0+2+4");
        assert!(!hosting.ready());
        assert_eq!(hosting.missing(), ["`seed-1` (worker `b` is loading it)", "`seed-3` (worker `b` is loading it)"]);
        loaded(&mut hosting, "b", "shapes-1/1+3");
        assert!(hosting.ready());
        let all = workers(&["a", "b", "c"]);
        assert_eq!(script(hosting.joined(&WorkerId::new("c"), &all)), "", "what answers is left alone");
        let orders = hosting.left(&WorkerId::new("a"), &workers(&["b", "c"]));
        assert_eq!(script(orders), "b + shapes-1/1+3+4; b - shapes-1/1+3; c + shapes-1/0+2");
    }

    #[test]
    fn a_worker_that_is_back_gets_its_own_members_again() {
        let all = workers(&["a", "b", "c"]);
        let (mut hosting, _) = Hosting::new(Arc::new(served(3)), &workers(&["a", "b"]));
        [("a", "shapes-1/0+2"), ("b", "shapes-1/1")]
            .iter()
            .for_each(|(worker, name)| loaded(&mut hosting, worker, name));
        hosting.lost(&WorkerId::new("a"));
        assert!(!hosting.ready());
        assert_eq!(hosting.missing()[0], "`seed-0` (contact with worker `a` is lost)");
        assert_eq!(script(hosting.joined(&WorkerId::new("a"), &all)), "a + shapes-1/0+2", "though a third is there");
        loaded(&mut hosting, "a", "shapes-1/0+2");
        assert!(hosting.ready());
    }

    #[test]
    fn what_is_said_of_an_earlier_share_does_not_count() {
        let (mut hosting, _) = Hosting::new(Arc::new(served(2)), &workers(&["a"]));
        let orders = hosting.joined(&WorkerId::new("b"), &workers(&["a", "b"]));
        assert_eq!(script(orders), "a + shapes-1/0; a - shapes-1/0+1; b + shapes-1/1");
        loaded(&mut hosting, "b", "shapes-1/1");
        loaded(&mut hosting, "a", "shapes-1/0+1");
        assert!(!hosting.ready());
        loaded(&mut hosting, "a", "shapes-1/0");
        assert!(hosting.ready());
    }

    #[test]
    fn what_could_not_be_loaded_is_ordered_again() {
        let (mut hosting, _) = Hosting::new(Arc::new(served(1)), &workers(&["a"]));
        hosting.hosted(&WorkerId::new("a"), "shapes-1/0", "out of memory");
        assert_eq!(hosting.missing(), ["`seed-0` (worker `a`: out of memory)"]);
        assert_eq!(script(hosting.retry()), "a + shapes-1/0");
        assert_eq!(script(hosting.retry()), "", "once is enough");
        assert_eq!(script(hosting.left(&WorkerId::new("a"), &workers(&[]))), "");
        assert_eq!(hosting.missing(), ["`seed-0` (on no worker)"]);
        assert_eq!(script(hosting.joined(&WorkerId::new("b"), &workers(&["b"]))), "b + shapes-1/0");
    }
}
