//! Who has a say about an artifact at this moment: whoever stores or commits it claims it, and a collector dooms it.

use ensemble::id::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// All claims and dooms. No artifact is both claimed and doomed. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    table: Mutex<Table>,
    /// Counts up whenever dooms end.
    spared: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    claimed: BTreeMap<Digest, usize>,
    doomed: BTreeSet<Digest>,
}

/// Keeps collectors off an artifact for as long as it lives.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    digest: Digest,
}

/// Artifacts that nobody can claim for as long as this lives.
#[derive(Debug)]
pub(super) struct Doom {
    claims: Claims,
    digests: BTreeSet<Digest>,
}

impl Claims {
    /// Claims an artifact; waits while a collector is about to remove it.
    pub async fn claim(&self, digest: &Digest) -> Claim {
        let mut spared = self.0.spared.subscribe();
        while !self.try_claim(digest) {
            // The sender lives in what `self` holds.
            let _ = spared.changed().await;
        }
        Claim { claims: self.clone(), digest: digest.clone() }
    }

    fn try_claim(&self, digest: &Digest) -> bool {
        let mut table = self.table();
        let free = !table.doomed.contains(digest);
        if free {
            *table.claimed.entry(digest.clone()).or_default() += 1;
        }
        free
    }

    /// Dooms those that nobody claims.
    pub(super) fn doom(&self, digests: impl IntoIterator<Item = Digest>) -> Doom {
        let mut table = self.table();
        let free = |digest: &Digest| !table.claimed.contains_key(digest) && !table.doomed.contains(digest);
        let digests: BTreeSet<_> = digests.into_iter().filter(free).collect();
        table.doomed.extend(digests.iter().cloned());
        Doom { claims: self.clone(), digests }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.claims.table();
        if let Some(count) = table.claimed.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                table.claimed.remove(&self.digest);
            }
        }
    }
}

impl Doom {
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }
}

impl Drop for Doom {
    fn drop(&mut self) {
        self.claims.table().doomed.retain(|digest| !self.digests.contains(digest));
        self.claims.0.spared.send_modify(|count| *count += 1);
    }
}
