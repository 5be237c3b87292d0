//! Fair share: what namespaces get of the slots converges to their weights.

use crate::script::{check, command, job, slots};
use ensemble::cluster::{Cluster, Command, Effect, LeaseKey, Settings};
use ensemble::id::WorkerId;
use expect_test::expect;
use std::collections::{BTreeMap, VecDeque};

#[test]
fn slots_are_shared_by_weight_within_a_priority() {
    check(
        "members: [{seeds: {count: 4}}]",
        "share b 3
         submit of-a namespace=a
         submit of-b namespace=b
         submit urgent namespace=a priority=60
         join w1 8
         ready w1 0
         ready w1 1
         ready w1 2
         ready w1 3
         ready w1 4
         ready w1 5
         ready w1 6
         ready w1 7
         show shares
         share b 0
         share B 1",
        expect![[r#"
            share b 3
            submit of-a namespace=a
                accepted demo-1
            submit of-b namespace=b
                accepted demo-2
            submit urgent namespace=a priority=60
                accepted demo-3
            join w1 8
            ready w1 0
                grant w1/0 demo-3/train/0@1: seed-0
            ready w1 1
                grant w1/1 demo-3/train/1@1: seed-1
            ready w1 2
                grant w1/2 demo-3/train/2@1: seed-2
            ready w1 3
                grant w1/3 demo-3/train/3@1: seed-3
            ready w1 4
                grant w1/4 demo-2/train/0@1: seed-0
            ready w1 5
                grant w1/5 demo-2/train/1@1: seed-1
            ready w1 6
                grant w1/6 demo-2/train/2@1: seed-2
            ready w1 7
                grant w1/7 demo-2/train/3@1: seed-3
            show shares
                {"namespace":"a","weight":1,"slots_busy":4}
                {"namespace":"b","weight":3,"slots_busy":4}
            share b 0
                refused: a weight of 0 is no weight; use 1 to 1000
            share B 1
                refused: `B` is no namespace; use 1 to 40 lower-case letters, digits and dashes
        "#]],
    );
}

/// A fleet that hands every task back after a while, so that tasks never run out.
struct Fleet {
    cluster: Cluster,
    /// Who is at what, the longest at it first.
    at_work: VecDeque<(u32, LeaseKey)>,
    /// How many grants each namespace had.
    grants: BTreeMap<String, u32>,
    random: u64,
}

impl Fleet {
    /// A fleet of some slots, and namespaces called as their weights, each with more tasks than there are slots.
    fn new(slot_count: u32, weights: &[u32]) -> Self {
        let mut fleet = Self {
            cluster: Cluster::new(Settings::default()),
            at_work: VecDeque::new(),
            grants: BTreeMap::new(),
            random: 7,
        };
        weights.iter().for_each(|weight| fleet.add(*weight));
        fleet.apply(Command::Join { worker: WorkerId::new("w"), slots: slots(slot_count) });
        (0..slot_count).for_each(|slot| fleet.ask(slot));
        fleet
    }

    fn add(&mut self, weight: u32) {
        let job = job("members: [{seeds: {count: 100}}]").unwrap();
        self.apply(Command::SetShare { namespace: weight.to_string(), weight });
        self.apply(command(&["submit", &format!("key-{weight}"), &format!("namespace={weight}")], &job));
    }

    fn apply(&mut self, command: Command) {
        for effect in self.cluster.apply(0, command).unwrap() {
            let Effect::Grant { slot, lease, .. } = effect else { continue };
            let namespace = self.cluster.job_file(&lease.task.job().unwrap()).unwrap().namespace.clone();
            *self.grants.entry(namespace).or_default() += 1;
            self.at_work.push_back((slot, lease));
        }
    }

    fn ask(&mut self, slot: u32) {
        self.apply(Command::Ready { worker: WorkerId::new("w"), slot });
    }

    /// Some task, of any namespace with the same chance for each of its slots, comes back, and its slot asks again.
    fn turn(&mut self) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let some = (self.random >> 33) as usize % self.at_work.len();
        let (slot, lease) = self.at_work.remove(some).unwrap();
        self.apply(Command::Yield { lease });
        self.ask(slot);
    }
}

#[test]
fn many_slots_are_held_in_proportion_to_the_weights() {
    let (weights, slot_count, turns) = ([1, 2, 5], 32, 10_000);
    let mut fleet = Fleet::new(slot_count, &weights);
    for turn in 0..turns {
        for share in fleet.cluster.shares() {
            let fair = slot_count * share.weight / weights.iter().sum::<u32>();
            assert!(share.slots_busy.abs_diff(fair) <= 1, "after {turn} turns: {share:?}, fair are {fair}");
        }
        fleet.turn();
    }
}

#[test]
fn a_single_slot_is_held_in_turns_by_weight_and_absence_earns_nothing() {
    let mut fleet = Fleet::new(1, &[1, 2]);
    (0..1_500).for_each(|_| fleet.turn());
    let late = 5;
    fleet.add(late);
    fleet.grants.clear();
    (0..8_000).for_each(|_| fleet.turn());
    for weight in [1, 2, late] {
        let granted = fleet.grants[&weight.to_string()];
        assert!(granted.abs_diff(weight * 1_000) <= 2, "weight {weight} had {granted} of 8000 grants");
    }
}
