//! Goal: whatever the order of uploads, commits and collections, what is referred to is there. Method: committers and a
//! collector at work at once, with nothing between them but claims, ages and the order that the page above states; what
//! a committer has committed it must find whole, until it lets go of it.
#![allow(clippy::unwrap_used)]

use super::{Claims, Collected, Collector};
use artifacts::{Store, StoreError, measure};
use ensemble::id::Digest;
use ensemble::run::Artifact;
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::sync::watch;

const COMMITTERS: usize = 4;
const ROUNDS: usize = 200;
/// How many artifacts a committer stores in turn: as long as a collector is busy with some, it meets others.
const CONTENTS: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);

/// A store, and what is referred to how often.
#[derive(Clone)]
struct World {
    store: Store,
    claims: Claims,
    referred: Arc<Mutex<BTreeMap<Digest, usize>>>,
    collector: Collector,
    /// Rounds that committers have begun.
    rounds: watch::Sender<usize>,
    root: PathBuf,
}

/// What a committer has seen.
#[derive(Debug, Default)]
struct Seen {
    committed: usize,
    /// Uploads that were collected before they were committed.
    missed: usize,
}

impl World {
    fn new(folder: &TempDir, age_min: Duration) -> Self {
        let (root, claims) = (folder.path().to_owned(), Claims::default());
        let store = Store::open_folder(root.clone()).unwrap();
        let referred = Arc::new(Mutex::new(BTreeMap::new()));
        let asked: Arc<Mutex<BTreeMap<Digest, usize>>> = referred.clone();
        let references = Arc::new(move || {
            let referred = asked.lock().unwrap().keys().cloned().collect();
            async { Ok(referred) }.boxed()
        });
        let collector =
            Collector { store: store.clone(), claims: claims.clone(), references, age_min, turn: Arc::default() };
        Self { store, claims, referred, collector, rounds: watch::Sender::new(0), root }
    }

    /// As the `Artifacts` service does.
    async fn upload(&self, content: &[u8]) -> Artifact {
        let announced = measure(&mut &*content).unwrap();
        let mut upload = self.store.put(announced.clone()).unwrap();
        upload.write(content.to_vec().into()).await.unwrap();
        let _claim = self.claims.claim(&announced.digest).await;
        upload.commit().await.unwrap()
    }

    /// As a session does with what a worker names. Whether the store had it.
    async fn commit(&self, artifact: &Artifact) -> bool {
        let _claim = self.claims.claim(&artifact.digest).await;
        let held = self.store.holds(artifact).await.unwrap();
        tokio::task::yield_now().await;
        if held {
            *self.referred.lock().unwrap().entry(artifact.digest.clone()).or_default() += 1;
        }
        held
    }

    fn let_go(&self, artifact: &Artifact) {
        let mut referred = self.referred.lock().unwrap();
        let count = referred.get_mut(&artifact.digest).unwrap();
        *count -= 1;
        if *count == 0 {
            referred.remove(&artifact.digest);
        }
    }

    async fn is_whole(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let mut reader = self.store.get(&artifact.digest).await?;
        while reader.next().await?.is_some() {}
        Ok(())
    }

    /// An hour passes for one artifact. It may just have been collected.
    fn age(&self, artifact: &Artifact) {
        let digest = artifact.digest.as_str();
        if let Ok(file) = File::options().write(true).open(self.root.join(&digest[..2]).join(digest)) {
            file.set_modified(SystemTime::now() - HOUR).unwrap();
        }
    }

    /// Commits, checks and lets go, again and again.
    async fn committer(self, contents: Vec<Vec<u8>>, ages: bool) -> Seen {
        let mut seen = Seen::default();
        for round in 0..ROUNDS {
            self.rounds.send_modify(|rounds| *rounds += 1);
            let artifact = self.upload(&contents[round % contents.len()]).await;
            tokio::task::yield_now().await;
            if !self.commit(&artifact).await {
                seen.missed += 1;
                continue;
            }
            for _ in 0..3 {
                self.is_whole(&artifact).await.expect("what is referred to is there");
                tokio::task::yield_now().await;
            }
            self.let_go(&artifact);
            if ages {
                self.age(&artifact);
            }
            seen.committed += 1;
        }
        seen
    }

    /// Collects for as long as committers begin rounds, and not oftener than they do: on a single core it would leave them
    /// no time. How much was removed.
    async fn collect(&self) -> u64 {
        let (mut rounds, mut removed) = (self.rounds.subscribe(), 0);
        while *rounds.borrow_and_update() < COMMITTERS * ROUNDS {
            removed += self.collector.collect(false).await.unwrap().removed_count;
            rounds.changed().await.unwrap();
        }
        removed
    }

    /// All at once: what the committers have seen, and how much was removed.
    async fn race(&self, contents: impl Fn(usize) -> Vec<Vec<u8>>, ages: bool) -> (Vec<Seen>, u64) {
        let committers: Vec<_> =
            (0..COMMITTERS).map(|index| tokio::spawn(self.clone().committer(contents(index), ages))).collect();
        let world = self.clone();
        let collecting = tokio::spawn(async move { world.collect().await });
        let mut seen = Vec::new();
        for committer in committers {
            seen.push(committer.await.unwrap());
        }
        (seen, collecting.await.unwrap())
    }
}

fn content(number: usize) -> Vec<u8> {
    format!("content {number} ").repeat(1000).into_bytes()
}

/// With no age floor at all, claims and order alone keep the collector off what is committed. All committers store the same
/// few artifacts, so that garbage comes back to life all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_committed_is_never_collected() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder, Duration::ZERO);
    let (seen, removed) = world.race(|_| (0..CONTENTS).map(content).collect(), false).await;
    let committed: usize = seen.iter().map(|seen| seen.committed).sum();
    assert!(committed > 0 && removed > 0, "{committed} commits, {removed} removals: the race did not take place");
    let end = world.collector.collect(false).await.unwrap();
    assert_eq!((end.kept_count, files(&folder)), (0, 0), "in the end all is garbage");
}

/// With an age floor, nobody even misses what was stored and is not committed yet. Each committer has artifacts of its own,
/// whose hour is over as soon as it lets go of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_young_is_never_collected() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder, HOUR);
    let (seen, removed) =
        world.race(|index| (0..CONTENTS).map(|number| content(index * CONTENTS + number)).collect(), true).await;
    assert!(removed > 0, "the race did not take place");
    for Seen { committed, missed } in seen {
        assert_eq!((committed, missed), (ROUNDS, 0));
    }
}

/// The same without luck: it is stored again between the listing and the doom.
#[tokio::test]
async fn what_is_stored_again_after_it_was_listed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder, HOUR);
    let artifact = world.upload(&content(0)).await;
    world.age(&artifact);
    let listed = world.store.head(&artifact.digest).await.unwrap().unwrap();
    world.upload(&content(0)).await;
    let mut collected = Collected::default();
    world.collector.remove(vec![listed], false, &mut collected).await.unwrap();
    assert_eq!((collected.removed_count, collected.kept_count, files(&folder)), (0, 1, 1));
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_remove_and_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder, HOUR);
    let mut stored = Vec::new();
    for number in 0..3 {
        stored.push(world.upload(&content(number)).await);
    }
    stored[..2].iter().for_each(|artifact| world.age(artifact));
    assert!(world.commit(&stored[0]).await);
    let bytes = stored[1].bytes;
    let expected = Collected {
        removed: vec![stored[1].clone()],
        removed_count: 1,
        removed_bytes: bytes,
        kept_count: 2,
        kept_bytes: stored[0].bytes + stored[2].bytes,
        unfinished: 0,
    };
    assert_eq!((world.collector.collect(true).await.unwrap(), files(&folder)), (expected.clone(), 3));
    assert_eq!((world.collector.collect(false).await.unwrap(), files(&folder)), (expected, 2));
}

fn files(folder: &TempDir) -> usize {
    fn count(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(folder.path())
}
