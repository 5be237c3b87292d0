//! What must stay in the store.

use super::{Cluster, Effect};
use crate::id::Digest;

impl Cluster {
    pub(super) fn handle_pin(&mut self, digest: Digest) -> Vec<Effect> {
        self.pins.insert(digest);
        Vec::new()
    }

    pub(super) fn handle_unpin(&mut self, digest: &Digest) -> Vec<Effect> {
        self.pins.remove(digest);
        Vec::new()
    }

    pub(super) fn handle_report_damaged(&mut self, _digest: &Digest) -> Vec<Effect> {
        Vec::new()
    }
}
