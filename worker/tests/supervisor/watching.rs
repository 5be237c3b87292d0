//! Engines that get nowhere, and heartbeats that do not care.

use crate::coordinator::{Coordinator, Manner, Session, Uploads};
use crate::worker::{Worker, signal};
use std::time::Duration;

async fn joined(stall: Duration, step: Duration) -> (Coordinator, Worker, Session) {
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let worker = Worker::start_as(&coordinator.url, |config| {
        (config.patience.stall, config.patience.step) = (stall, step);
    });
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    (coordinator, worker, session)
}

#[tokio::test]
async fn heartbeats_go_on_while_an_engine_is_stopped_and_an_upload_hangs() {
    let (coordinator, worker, mut session) = joined(Duration::from_secs(60), Duration::from_secs(60)).await;
    coordinator.change(|manner| manner.uploads = Uploads::Hung);
    session.train("t", "checkpoint c; pid; until-stopped", None).await;
    let engine = session.told().await.replace("t log ", "");
    signal(&engine, "-STOP");
    for _ in 0..20 {
        session.heartbeat().await;
    }
    signal(&engine, "-CONT");
    drop(worker);
}

#[tokio::test]
async fn a_still_engine_is_killed_and_replaced() {
    let (_coordinator, worker, mut session) = joined(Duration::from_secs(2), Duration::from_secs(60)).await;
    session.train("t", "pid; until-stopped", None).await;
    let engine = session.told().await.replace("t log ", "");
    let expected = format!(
        "t failed, FAILURE_CLASS_ENGINE_LOST: the engine was killed because it said nothing and used no processor time \
         for 2 s; its last lines:\n{engine}"
    );
    assert_eq!(session.tell(2).await, [expected, "ready 0".to_owned()]);
    session.train("u", "finish", None).await;
    assert_eq!(session.told().await, "u finished: nothing");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_computes_in_circles_is_killed() {
    let (_coordinator, worker, mut session) = joined(Duration::from_secs(2), Duration::from_secs(4)).await;
    session.train("t", "spin", None).await;
    let expected = "t failed, FAILURE_CLASS_ENGINE_LOST: the engine was killed because it computed without getting any \
                    further for 4 s";
    assert_eq!(session.told().await, expected);
    worker.stop().await.unwrap();
}

/// An evaluation has nothing to tell but that it goes on, for longer than a step may take. Nobody else hears of it.
#[tokio::test]
async fn an_engine_that_gets_further_may_take_its_time() {
    let (_coordinator, worker, mut session) = joined(Duration::from_secs(60), Duration::from_secs(2)).await;
    session.train("t", "further 15; finish", None).await;
    assert_eq!(session.told().await, "t finished: nothing");
    worker.stop().await.unwrap();
}
