//! Leases that are handed back.

use crate::coordinator::{Coordinator, Manner, Session, key};
use crate::worker::{Worker, signal, until_gone};
use proto::v1::Yield;
use proto::v1::to_worker::Message as Order;
use std::time::Duration;

impl Session {
    async fn ask_back(&self, task: &str) {
        self.order(Order::Yield(Yield { key: Some(key(task)) })).await;
    }
}

/// Time for a drain in which nothing holds it up.
const LONG_ENOUGH: Duration = Duration::from_secs(50);

async fn joined(drain: Duration) -> (Coordinator, Worker, Session) {
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let worker = Worker::start_as(&coordinator.url, |config| config.drain = drain);
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    (coordinator, worker, session)
}

#[tokio::test]
async fn a_lease_that_is_asked_back_comes_back_after_a_checkpoint() {
    let (_coordinator, worker, mut session) = joined(LONG_ENOUGH).await;
    session.train("t", "pid; until-stopped half the work", None).await;
    let engine = session.told().await;
    session.ask_back("another").await;
    session.ask_back("t").await;
    let checkpoint = "t checkpoint of run 0 at step 3 for branch Some(1): half the work";
    assert_eq!(session.tell(3).await, [checkpoint, "t yielded", "ready 0"]);
    session.train("u", "pid; finish", None).await;
    assert_eq!(session.tell(2).await, [engine.replace("t log", "u log"), "u finished: nothing".to_owned()]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_failure_of_its_own_stays_one() {
    let (_coordinator, worker, mut session) = joined(LONG_ENOUGH).await;
    session.train("t", "say begun; until-told; fail label 11 of 10 classes", None).await;
    assert_eq!(session.told().await, "t log begun");
    session.ask_back("t").await;
    assert_eq!(session.told().await, "t failed, FAILURE_CLASS_DATA: label 11 of 10 classes");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_in_its_time_whatever_the_engine_does() {
    let (_coordinator, worker, mut session) = joined(Duration::from_secs(1)).await;
    session.train("t", "pid; until-stopped", None).await;
    let engine = session.told().await.replace("t log ", "");
    signal(&engine, "-STOP");
    worker.stop().await.unwrap();
    assert_eq!(session.tell(2).await, ["drained", "(end)"], "the lease goes back with the rest");
    until_gone(&engine).await;
}

#[tokio::test]
async fn a_drain_waits_for_its_reports_to_be_recorded() {
    let (mut coordinator, worker, mut session) = joined(LONG_ENOUGH).await;
    session.train("t", "say begun; until-stopped half the work", None).await;
    assert_eq!(session.told().await, "t log begun");
    coordinator.change(|manner| manner.recording = false);
    let stopping = tokio::spawn(worker.stop());
    assert!(session.told().await.contains("half the work"));
    coordinator.change(|manner| manner.recording = true);
    drop(session);
    let mut session = coordinator.session().await;
    let told = session.tell(4).await;
    assert!(told[0].contains("half the work"), "{told:?}");
    assert_eq!(told[1..], ["t yielded", "drained", "(end)"]);
    stopping.await.unwrap().unwrap();
}
