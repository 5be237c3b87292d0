//! Namespaces, and how much of the slots each of them has and should have.

use super::settings::{NAMESPACES_MAX, WEIGHT_MAX};
use super::{Cluster, Effect, Rejection};
use crate::job::is_name;
use crate::view::ShareView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one slot weighs in a namespace of weight 1. With the square of the largest weight, two fractions `slots/weight`
/// that differ do so in whole numbers.
const ONE: u64 = (WEIGHT_MAX as u64) * (WEIGHT_MAX as u64);

/// All namespaces that have had jobs or were given a weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Shares {
    namespaces: BTreeMap<String, Share>,
    /// How far whoever was served last had come by then.
    served: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Share {
    weight: u32,
    slots_busy: u32,
    /// All grants so far, each by what it weighs.
    served: u64,
}

/// When it is a namespace's turn; the least is next. First counts how many slots it has for its weight, and where that
/// is the same, how often it was served: on a single slot all namespaces have none when it becomes free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Turn {
    load: u64,
    served: u64,
}

impl Share {
    fn new() -> Self {
        Self { weight: 1, slots_busy: 0, served: 0 }
    }

    fn turn(&self) -> Turn {
        Turn { load: self.weigh(self.slots_busy), served: self.served }
    }

    fn weigh(&self, slots: u32) -> u64 {
        u64::from(slots) * ONE / u64::from(self.weight)
    }
}

impl Shares {
    /// Whether there is room for a namespace, which there is for known ones.
    pub fn check_room(&self, namespace: &str) -> Result<(), Rejection> {
        if self.namespaces.contains_key(namespace) || self.namespaces.len() < NAMESPACES_MAX {
            return Ok(());
        }
        Err(Rejection::Full(format!("the cluster has its {NAMESPACES_MAX} namespaces")))
    }

    pub fn turn(&mut self, namespace: &str) -> Turn {
        self.share(namespace).turn()
    }

    pub fn set_weight(&mut self, namespace: &str, weight: u32) -> Turn {
        let share = self.share(namespace);
        share.weight = weight;
        share.turn()
    }

    /// A namespace that wanted nothing for a while has tasks again. What it did not want is not owed to it.
    pub fn come_in(&mut self, namespace: &str) -> Turn {
        let served = self.served;
        let share = self.share(namespace);
        share.served = share.served.max(served);
        share.turn()
    }

    /// A slot goes to a namespace.
    pub fn serve(&mut self, namespace: &str) -> Turn {
        let share = self.share(namespace);
        let before = share.served;
        share.slots_busy += 1;
        share.served += share.weigh(1);
        let turn = share.turn();
        self.served = self.served.max(before);
        turn
    }

    /// A slot of a namespace becomes free.
    pub fn release(&mut self, namespace: &str) -> Turn {
        let share = self.share(namespace);
        share.slots_busy -= 1;
        share.turn()
    }

    fn share(&mut self, namespace: &str) -> &mut Share {
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), Share::new());
        }
        self.namespaces.get_mut(namespace).expect("it was just put in if it was missing")
    }
}

impl Cluster {
    pub(super) fn handle_set_share(&mut self, namespace: &str, weight: u32) -> Result<Vec<Effect>, Rejection> {
        if !is_name(namespace) {
            let problem = format!("`{namespace}` is no namespace; use 1 to 40 lower-case letters, digits and dashes");
            return Err(Rejection::Unexpected(problem));
        }
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(Rejection::Unexpected(format!("a weight of {weight} is no weight; use 1 to {WEIGHT_MAX}")));
        }
        self.queue.shares().check_room(namespace)?;
        self.queue.set_weight(namespace, weight);
        Ok(Vec::new())
    }

    /// All namespaces that have had jobs or were given a weight.
    pub fn shares(&self) -> Vec<ShareView> {
        self.queue.shares().views().collect()
    }
}

impl Shares {
    fn views(&self) -> impl Iterator<Item = ShareView> {
        self.namespaces.iter().map(|(namespace, share)| ShareView {
            namespace: namespace.clone(),
            weight: share.weight,
            slots_busy: share.slots_busy,
        })
    }
}
