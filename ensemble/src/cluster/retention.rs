//! What must stay in the store, and what becomes of what did not.

use super::job::Followup;
use super::{Cluster, Effect, Millis};
use crate::id::Digest;
use std::collections::BTreeSet;

impl Cluster {
    /// Every artifact that somebody needs: what [`keep`](super::job::JobState::refer) says of each job, and what is pinned.
    /// All else may be removed from the store, but for what is too young to have been reported yet.
    pub fn references(&self) -> BTreeSet<Digest> {
        let mut digests = self.pins.clone();
        self.jobs.iter().for_each(|job| job.refer(&mut digests));
        digests
    }

    /// The artifacts that are kept whoever refers to them.
    pub fn pins(&self) -> Vec<Digest> {
        self.pins.iter().cloned().collect()
    }

    pub(super) fn handle_pin(&mut self, digest: Digest) -> Vec<Effect> {
        self.pins.insert(digest);
        Vec::new()
    }

    pub(super) fn handle_unpin(&mut self, digest: &Digest) -> Vec<Effect> {
        self.pins.remove(digest);
        Vec::new()
    }

    /// Jobs that learned the same have the same artifacts, so all are asked.
    pub(super) fn handle_report_damaged(&mut self, now: Millis, digest: &Digest) -> Vec<Effect> {
        let mut effects = Vec::new();
        for job in 0..self.jobs.len() as u32 {
            let mut followup = Followup::default();
            self.jobs[job as usize].forget(digest, &mut followup);
            self.follow(now, job, followup, &mut effects);
        }
        effects
    }
}
