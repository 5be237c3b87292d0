//! A store that fails for a while.

use crate::bench::{Bench, artifact, content};
use crate::proxy::{Mode, Proxy};
use artifacts::{Store, StoreError};
use ensemble::run::Artifact;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A store behind a proxy, and a file of several parts to put there.
struct Fault {
    bench: Bench,
    proxy: Proxy,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Fault {
    async fn new() -> Self {
        let mut proxy = None;
        let front = async |server| {
            let (made, address) = Proxy::before(server).await;
            proxy = Some(made);
            address
        };
        let bench = Bench::s3_behind(front).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, content(7, 20 << 20)).unwrap();
        Self { bench, proxy: proxy.unwrap(), file, _folder: folder }
    }

    fn put(&self) -> tokio::task::JoinHandle<Result<Artifact, StoreError>> {
        let (store, file) = (self.bench.store.clone(), self.file.clone());
        tokio::spawn(async move { store.put_file(&file).await })
    }
}

/// Asks again for as long as the failure is a passing one, as the coordinator and workers do, without their pauses.
async fn patiently(store: &Store, file: &std::path::Path) -> Artifact {
    loop {
        match store.put_file(file).await {
            Err(error) if error.is_passing() => (),
            put => return put.unwrap(),
        }
    }
}

/// The store comes back after two faults, and what was put meanwhile is whole.
async fn comes_back(mut fault: Fault, putting: tokio::task::JoinHandle<Artifact>) {
    fault.proxy.faults(2).await;
    fault.proxy.set(Mode::Pass);
    let stored = putting.await.unwrap();
    assert_eq!(stored, artifact(&fs::read(&fault.file).unwrap()));
    let back = fault.file.with_extension("back");
    fault.bench.store.fetch_file(&stored.digest, &back).await.unwrap();
}

#[tokio::test]
async fn a_store_that_refuses_for_a_moment_is_not_noticed() {
    let fault = Fault::new().await;
    fault.proxy.set(Mode::Refuse);
    let putting = fault.put();
    comes_back(fault, tokio::spawn(async { putting.await.unwrap().unwrap() })).await;
}

/// Most requests are repeated by the store's client. One that may have had its effect is for whoever asked to repeat.
#[tokio::test]
async fn a_store_that_is_cut_off_for_a_moment_costs_nothing_but_time() {
    for mode in [Mode::Cut, Mode::CutAfter(5 << 20)] {
        let fault = Fault::new().await;
        fault.proxy.set(mode);
        let (store, file) = (fault.bench.store.clone(), fault.file.clone());
        comes_back(fault, tokio::spawn(async move { patiently(&store, &file).await })).await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_for_longer_is_a_passing_failure_and_leaves_no_part_of_an_artifact() {
    for mode in [Mode::Cut, Mode::Refuse] {
        let fault = Fault::new().await;
        fault.proxy.set(mode);
        let error = fault.put().await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_passing(), "{error}");
        fault.proxy.set(Mode::Pass);
        let stored = patiently(&fault.bench.store, &fault.file).await;
        assert_eq!(fault.bench.content(), [fault.bench.file(&stored)]);
    }
}

/// The store goes away when half of the parts are there, and comes back after the upload was given up.
#[tokio::test]
async fn an_upload_cut_in_the_middle_is_swept_and_its_like_succeeds() {
    let mut fault = Fault::new().await;
    fault.proxy.set(Mode::CutAfter(5 << 20));
    let putting = fault.put();
    fault.proxy.faults(1).await;
    fault.proxy.set(Mode::Cut);
    let error = putting.await.unwrap().unwrap_err();
    assert!(error.is_passing(), "{error}");
    fault.proxy.set(Mode::Pass);
    let stored = patiently(&fault.bench.store, &fault.file).await;
    fault.bench.store.sweep_unfinished(Duration::ZERO).await.unwrap();
    assert_eq!(fault.bench.content(), [fault.bench.file(&stored)]);
}

#[tokio::test]
async fn a_read_that_is_cut_goes_on() {
    let mut fault = Fault::new().await;
    let stored = fault.put().await.unwrap().unwrap();
    let mut reader = fault.bench.store.get(&stored.digest).await.unwrap();
    let mut bytes = reader.next().await.unwrap().unwrap().len() as u64;
    fault.proxy.set(Mode::Cut);
    fault.proxy.faults(1).await;
    fault.proxy.set(Mode::Pass);
    while let Some(chunk) = reader.next().await.unwrap() {
        bytes += chunk.len() as u64;
    }
    assert_eq!(bytes, stored.bytes);
}

#[tokio::test]
async fn a_store_that_does_not_answer_at_the_start_may_come_back() {
    let root = tempfile::tempdir().unwrap();
    let server = crate::server::serve(root.path()).await;
    let (proxy, address) = Proxy::before(server).await;
    proxy.set(Mode::Cut);
    let store = crate::bench::connect(address, crate::server::SECRET_KEY, root.path(), 1 << 20).await.unwrap();
    proxy.set(Mode::Pass);
    assert_eq!(store.head(&artifact(b"none").digest).await.unwrap(), None);
}
