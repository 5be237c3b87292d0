//! Namespaces, and how much of the slots each has.

use super::settings::{NAME_BYTES_MAX, WEIGHT_MAX};
use super::{Cluster, Effect, Rejection};
use crate::view::ShareView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All namespaces that anybody has named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Shares {
    weights: BTreeMap<String, u32>,
}

impl Cluster {
    pub(super) fn handle_set_share(&mut self, namespace: String, weight: u32) -> Result<Vec<Effect>, Rejection> {
        if namespace.is_empty() || namespace.len() > NAME_BYTES_MAX || !(1..=WEIGHT_MAX).contains(&weight) {
            let problem = format!("`{namespace}` cannot have weight {weight}; use 1 to {WEIGHT_MAX}");
            return Err(Rejection::Unexpected(problem));
        }
        self.shares.weights.insert(namespace, weight);
        Ok(Vec::new())
    }

    /// All namespaces that have jobs or a weight.
    pub fn shares(&self) -> Vec<ShareView> {
        let view =
            |(namespace, &weight): (&String, &u32)| ShareView { namespace: namespace.clone(), weight, slots_busy: 0 };
        self.shares.weights.iter().map(view).collect()
    }
}
