//! Garbage collection: removes the artifacts that nothing refers to.
//!
//! # Why it never removes what is needed
//! An artifact is stored first and committed after, so for a while nothing refers to bytes that are needed. Three rules
//! keep a collector off them:
//! - **Age.** What was stored within the age floor stays. Storing an artifact again makes it young again.
//! - **Claims.** Whoever stores an artifact through the coordinator, or commits one, claims it first, then finds that the
//!   store holds it, then has the command applied, and only then gives the claim back.
//! - **Order.** A collector dooms what it means to remove, which fails for what is claimed; then asks the cluster what it
//!   refers to; then looks at the age again; then removes; and only then lets others claim.
//!
//! So a commit either ends before the doom, and the cluster names the artifact; or holds its claim, and the artifact is
//! not doomed; or begins after the removal, and finds that the store lacks it, which fails an attempt of a task and no
//! promise. In no order does the cluster refer to bytes that were removed.

mod claims;
#[cfg(test)]
mod races;

pub use claims::{Claim, Claims};

use crate::driver::{Handle, Stopped};
use crate::journal::postgres::Tenure;
use artifacts::{Store, StoreError, Stored};
use claims::Doom;
use ensemble::cluster::Cluster;
use ensemble::id::Digest;
use ensemble::run::Artifact;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// How many artifacts are doomed at once: few enough that who must wait for one waits shortly.
const BATCH: usize = 256;

/// What an answer lists at most; everything is counted.
const LISTED_MAX: usize = 10_000;

/// Says what is referred to at the moment of the question.
type References = Arc<dyn Fn() -> BoxFuture<'static, Result<BTreeSet<Digest>, CollectError>> + Send + Sync>;

/// The collector. Clones are the same.
#[derive(Clone)]
pub struct Collector {
    store: Store,
    claims: Claims,
    references: References,
    age_min: Duration,
    /// Held while one is at work: two would only be in each other's way.
    turn: Arc<Mutex<()>>,
}

/// What a collection has removed, or would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The artifacts, up to a bound.
    pub removed: Vec<Artifact>,
    /// How many there were in all.
    pub removed_count: u64,
    /// Their size together.
    pub removed_bytes: u64,
    /// How many artifacts stay.
    pub kept_count: u64,
    /// Their size together.
    pub kept_bytes: u64,
    /// How many unfinished uploads were given up.
    pub unfinished: u64,
}

/// Why a collection ended before its end. What was removed was garbage.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator is ending.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Another coordinator may lead.
    #[error(
        "this coordinator is not sure that it leads, as long as it does not reach its database; nothing is removed"
    )]
    Unsure,
}

impl Collector {
    /// Removes from `store` what the cluster does not refer to and is older than `age_min`.
    pub fn new(store: Store, driver: Handle, claims: Claims, tenure: Tenure, age_min: Duration) -> Self {
        let references = move || {
            let (driver, tenure) = (driver.clone(), tenure.clone());
            let look = async move {
                let references = driver.inspect(Cluster::references).await?;
                if tenure.holds() { Ok(references) } else { Err(CollectError::Unsure) }
            };
            look.boxed()
        };
        Self { store, claims, references: Arc::new(references), age_min, turn: Arc::default() }
    }

    /// Collects garbage; a dry run only says what it would remove.
    ///
    /// # Errors
    /// When the store fails, or the coordinator is ending.
    pub async fn collect(&self, dry_run: bool) -> Result<Collected, CollectError> {
        let _turn = self.turn.lock().await;
        let mut collected = Collected::default();
        // What is needed now is not even doomed; what becomes needed meanwhile is found out before it is removed.
        let needed = (self.references)().await?;
        let mut garbage = Vec::with_capacity(BATCH);
        let mut listed = self.store.list();
        while let Some(stored) = listed.try_next().await? {
            if self.is_old(&stored) && !needed.contains(&stored.artifact.digest) {
                garbage.push(stored);
            } else {
                collected.keep(&stored);
            }
            if garbage.len() == BATCH {
                self.remove(std::mem::take(&mut garbage), dry_run, &mut collected).await?;
            }
        }
        self.remove(garbage, dry_run, &mut collected).await?;
        if !dry_run {
            collected.unfinished = self.store.sweep_unfinished(self.age_min).await?;
        }
        Ok(collected)
    }

    async fn remove(&self, garbage: Vec<Stored>, dry_run: bool, collected: &mut Collected) -> Result<(), CollectError> {
        if garbage.is_empty() {
            return Ok(());
        }
        let doom = self.claims.doom(garbage.iter().map(|stored| stored.artifact.digest.clone()));
        let needed = (self.references)().await?;
        for stored in garbage {
            if self.is_garbage(&stored, &doom, &needed).await? {
                if !dry_run {
                    self.store.remove(&stored.artifact.digest).await?;
                }
                collected.remove(stored.artifact);
            } else {
                collected.keep(&stored);
            }
        }
        Ok(())
    }

    /// A worker that stores artifacts by itself claims none, but makes them young.
    async fn is_garbage(&self, stored: &Stored, doom: &Doom, needed: &BTreeSet<Digest>) -> Result<bool, CollectError> {
        let digest = &stored.artifact.digest;
        if !doom.contains(digest) || needed.contains(digest) {
            return Ok(false);
        }
        Ok(self.store.head(digest).await?.is_some_and(|now| self.is_old(&now)))
    }

    fn is_old(&self, stored: &Stored) -> bool {
        stored.age(SystemTime::now()) >= self.age_min
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("store", &self.store).field("age_min", &self.age_min).finish_non_exhaustive()
    }
}

impl Collected {
    fn keep(&mut self, stored: &Stored) {
        self.kept_count += 1;
        self.kept_bytes += stored.artifact.bytes;
    }

    fn remove(&mut self, artifact: Artifact) {
        self.removed_count += 1;
        self.removed_bytes += artifact.bytes;
        if self.removed.len() < LISTED_MAX {
            self.removed.push(artifact);
        }
    }
}

/// Collects every so often, the first time after one interval: what workers have stored while the coordinator was away
/// they can report before. Ends with the runtime.
pub async fn collect_forever(collector: Collector, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match collector.collect(false).await {
            Ok(Collected { removed_count, removed_bytes, kept_count, kept_bytes, unfinished, .. }) => {
                tracing::info!(removed_count, removed_bytes, kept_count, kept_bytes, unfinished, "garbage collected");
            }
            Err(CollectError::Stopped(_)) => return,
            Err(error) => tracing::warn!(%error, "garbage is collected later"),
        }
    }
}
