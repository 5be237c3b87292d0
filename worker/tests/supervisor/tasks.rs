//! Tasks: done, failed, revoked, interrupted.

use crate::coordinator::{Coordinator, Manner, Session, key};
use crate::worker::{Worker, signal};
use proto::v1::Revoke;
use proto::v1::to_worker::Message as Order;
use std::path::Path;

async fn joined() -> (Coordinator, Worker, Session) {
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let worker = Worker::start(&coordinator.url);
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    (coordinator, worker, session)
}

#[tokio::test]
async fn what_a_task_makes_is_stored_in_order_before_it_is_finished() {
    let (_coordinator, worker, mut session) = joined().await;
    assert_eq!(session.hello.slots[0].device, "cpu");
    session.train("t", "progress 7; checkpoint c1; model m1; checkpoint c2; finish", None).await;
    let expected = [
        "t step 7",
        "t checkpoint of run 0 at step 3 for branch Some(1): c1",
        "t model of run 0: m1",
        "t checkpoint of run 0 at step 3 for branch Some(1): c2",
        "t finished: nothing",
        "ready 0",
    ];
    assert_eq!(session.tell(expected.len()).await, expected);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn inputs_are_fetched_and_outcomes_stored() {
    let (coordinator, worker, mut session) = joined().await;
    let model = coordinator.put("the model's bytes");
    for task in ["first", "from the cache"] {
        session.evaluate(task, "inputs; finish predictions", model.clone()).await;
        let expected = [format!("{task} log the model's bytes"), format!("{task} finished: predictions")];
        assert_eq!(session.tell(2).await, expected);
        assert_eq!(session.told().await, "ready 0");
        coordinator.store.lock().unwrap().remove(&model.digest);
    }
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn what_arrives_damaged_fails_the_task_and_stays_nowhere() {
    let (coordinator, worker, mut session) = joined().await;
    let checkpoint = coordinator.put_damaged("a checkpoint");
    session.train("t", "finish", Some(checkpoint.clone())).await;
    assert_eq!(session.told().await, format!("t damaged: {}", checkpoint.digest));
    let told = session.told().await;
    let expected = format!("t failed, FAILURE_CLASS_INFRASTRUCTURE: artifact {} arrived damaged", checkpoint.digest);
    assert!(told.starts_with(&expected), "{told}");
    assert_eq!(session.told().await, "ready 0");

    coordinator.store.lock().unwrap().clear();
    session.train("u", "finish", Some(checkpoint.clone())).await;
    assert_eq!(session.told().await, format!("u damaged: {}", checkpoint.digest), "a lost one is as bad");
    let cached = std::fs::read_dir(worker.folder.path().join("data/cache")).unwrap().count();
    assert_eq!(cached, 0);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_dying_engine_is_one_tasks_failure_and_the_heart_beats_on() {
    let (_coordinator, worker, mut session) = joined().await;
    session.train("t", "checkpoint saved; stderr last words; abort", None).await;
    let told = session.tell(3).await;
    assert_eq!(told.iter().filter(|line| *line == "t log last words").count(), 1, "{told:?}");
    assert!(told.contains(&"t checkpoint of run 0 at step 3 for branch Some(1): saved".to_owned()), "{told:?}");
    let expected = "t failed, FAILURE_CLASS_ENGINE_LOST: the engine ended without a word: killed by signal 6 (SIGABRT); \
                    its last lines:\nlast words";
    assert_eq!(told[2], expected);

    session.heartbeat().await;
    assert_eq!(session.told().await, "ready 0");
    session.train("u", "finish", None).await;
    assert_eq!(session.tell(2).await, ["u finished: nothing", "ready 0"], "a new engine is there");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn an_engine_killed_from_outside_or_talking_nonsense_is_lost() {
    let (_coordinator, worker, mut session) = joined().await;
    session.train("t", "pid; until-stopped", None).await;
    let engine = session.told().await.replace("t log ", "");
    signal(&engine, "-KILL");
    let lost = "failed, FAILURE_CLASS_ENGINE_LOST: the engine ended without a word:";
    let expected = format!("t {lost} killed by signal 9 (SIGKILL); its last lines:\n{engine}");
    assert_eq!(session.told().await, expected);
    assert_eq!(session.told().await, "ready 0");

    session.train("u", "nonsense; until-stopped", None).await;
    let told = session.told().await;
    assert!(told.starts_with(&format!("u {lost} unreadable message")), "{told}");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_failure_that_the_engine_reports_keeps_its_class_and_its_engine() {
    let (_coordinator, worker, mut session) = joined().await;
    session.train("t", "pid; fail label 11 of 10 classes", None).await;
    let engine = session.told().await;
    assert_eq!(session.told().await, "t failed, FAILURE_CLASS_DATA: label 11 of 10 classes");
    assert_eq!(session.told().await, "ready 0");
    session.train("t", "pid; finish", None).await;
    assert_eq!(session.told().await, engine);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_revoked_task_stops_and_its_engine_stays_warm() {
    let (_coordinator, worker, mut session) = joined().await;
    session.train("t", "pid; until-stopped", None).await;
    let engine = session.told().await;
    session.order(Order::Revoke(Revoke { key: Some(key("another")) })).await;
    session.order(Order::Revoke(Revoke { key: Some(key("t")) })).await;
    assert_eq!(session.told().await, "ready 0", "nothing more is said of a revoked task");
    session.train("t", "pid; finish", None).await;
    assert_eq!(session.tell(2).await, [engine, "t finished: nothing".to_owned()]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_told_to_stop_stores_what_it_has_and_leaves_no_engine() {
    let (_coordinator, worker, mut session) = joined().await;
    session.train("t", "pid; until-stopped half the work", None).await;
    let engine = session.told().await.replace("t log ", "");
    worker.stop().await.unwrap();
    let checkpoint = "t checkpoint of run 0 at step 3 for branch Some(1): half the work";
    assert_eq!(session.tell(4).await, [checkpoint, "t yielded", "drained", "(end)"]);
    assert!(!Path::new("/proc").join(engine).exists());
}
