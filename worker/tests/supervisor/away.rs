//! Sessions come and go, and tasks do not care.

use crate::coordinator::{Coordinator, Manner, Session, key};
use crate::worker::{Pipe, Worker};
use proto::v1::Recorded;
use proto::v1::to_worker::Message as Order;
use std::time::Duration;

const CHECKPOINT: &str = "t checkpoint of run 0 at step 3 for branch Some(1): c";

async fn joined(manner: Manner) -> (Coordinator, Worker, Session) {
    let mut coordinator = Coordinator::start(manner).await;
    let worker = Worker::start(&coordinator.url);
    let mut session = coordinator.session().await;
    assert_eq!((session.held(), session.told().await.as_str()), (Vec::new(), "ready 0"));
    (coordinator, worker, session)
}

#[tokio::test]
async fn a_session_cut_in_the_middle_of_a_task_restarts_nothing() {
    let (mut coordinator, worker, mut session) = joined(Manner::usual()).await;
    let pipe = Pipe::new(&worker, "pipe");
    session.train("t", &format!("say begun; {}; checkpoint c; finish", pipe.act()), None).await;
    assert_eq!(session.told().await, "t log begun");
    let process = session.hello.process;
    drop(session);

    let mut session = coordinator.session().await;
    assert_eq!((session.held(), session.hello.process), (vec!["t".to_owned()], process));
    pipe.let_go().await;
    assert_eq!(
        session.tell(3).await,
        [CHECKPOINT, "t finished: nothing", "ready 0"],
        "nothing before, and nothing twice"
    );
    drop(session);
    let mut session = coordinator.session().await;
    assert_eq!((session.held(), session.told().await.as_str()), (Vec::new(), "ready 0"), "all was recorded");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_made_while_the_coordinator_is_away_is_told_once_it_is_back() {
    let (mut coordinator, worker, session) = joined(Manner::usual()).await;
    let (first, second) = (Pipe::new(&worker, "first"), Pipe::new(&worker, "second"));
    let script = format!("{}; progress 7; checkpoint c; {}; say almost; finish", first.act(), second.act());
    session.train("t", &script, None).await;
    coordinator.change(|manner| manner.away = true);
    drop(session);
    first.let_go().await;
    // The engine has made its checkpoint once it waits again.
    second.let_go().await;
    coordinator.change(|manner| manner.away = false);

    let mut session = coordinator.session().await;
    assert_eq!(session.held(), ["t"]);
    // Whether the upload was tried meanwhile, and so spoken of, is a matter of luck.
    let mut told = vec![session.told().await];
    while told.last().is_some_and(|last| last != "ready 0") {
        told.push(session.told().await);
    }
    let position =
        |line: &str| told.iter().position(|told| told.starts_with(line)).unwrap_or_else(|| panic!("{told:?}"));
    let order = ["t step 7", CHECKPOINT, "t finished: nothing", "ready 0"].map(position);
    assert!(order.is_sorted(), "{told:?}");
    position("t log almost");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_report_is_told_again_until_it_is_recorded() {
    let manner = Manner { recording: false, ..Manner::usual() };
    let (mut coordinator, worker, mut session) = joined(manner).await;
    session.train("t", "checkpoint c; finish", None).await;
    let expected = [(1, CHECKPOINT), (2, "t finished: nothing"), (0, "ready 0")];
    for (number, words) in expected {
        assert_eq!(session.told_with_number().await, (number, words.to_owned()));
    }
    drop(session);
    let mut session = coordinator.session().await;
    assert_eq!(session.held(), ["t"], "its end is not recorded");
    for (number, words) in expected {
        assert_eq!(session.told_with_number().await, (number, words.to_owned()));
    }
    session.order(Order::Recorded(Recorded { report: 1 })).await;
    session.train("u", "say recorded; finish", None).await;
    assert_eq!(session.told().await, "u log recorded");
    drop(session);

    let mut session = coordinator.session().await;
    assert_eq!(session.told_with_number().await, (2, "t finished: nothing".to_owned()));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_out_of_touch_for_most_of_a_lease_is_silent_until_it_is_welcomed() {
    let (mut coordinator, worker, mut session) = joined(Manner::fading()).await;
    let (first, second) = (Pipe::new(&worker, "first"), Pipe::new(&worker, "second"));
    let script = format!("say begun; {}; checkpoint c; {}; finish", first.act(), second.act());
    session.train("t", &script, None).await;
    coordinator.change(|manner| manner.away = true);
    assert_eq!(session.tell(2).await, ["t log begun", "(end)"], "the worker lets go of the session");
    first.let_go().await;
    second.let_go().await;
    assert_eq!(coordinator.events(), ["welcome"], "the engine computes on, and nothing leaves the worker");

    coordinator.change(|manner| *manner = Manner::usual());
    let mut session = coordinator.session().await;
    assert_eq!(session.held(), ["t"]);
    assert_eq!(session.tell(3).await, [CHECKPOINT, "t finished: nothing", "ready 0"]);
    assert_eq!(coordinator.events(), ["welcome", "welcome", "upload"]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_was_not_kept_is_dropped_and_the_engine_stays_warm() {
    let (mut coordinator, worker, mut session) = joined(Manner::usual()).await;
    session.train("t", "pid; until-stopped too late", None).await;
    let engine = session.told().await;
    coordinator.change(|manner| manner.keeping = false);
    drop(session);
    let mut session = coordinator.session().await;
    assert_eq!((session.held(), session.told().await), (vec!["t".to_owned()], "ready 0".to_owned()));
    session.train("t", "pid; finish", None).await;
    assert_eq!(session.tell(2).await, [engine, "t finished: nothing".to_owned()], "the same engine, free again");
    assert_eq!(coordinator.events(), ["welcome", "welcome"]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_out_of_touch_for_too_long_gives_its_tasks_up() {
    let mut coordinator = Coordinator::start(Manner::fading()).await;
    let worker = Worker::start_as(&coordinator.url, |config| config.away_limit = Duration::from_millis(500));
    let mut session = coordinator.session().await;
    session.train("t", "pid; until-stopped", None).await;
    assert_eq!(session.told().await, "ready 0");
    let engine = session.told().await;
    coordinator.change(|manner| manner.away = true);
    assert_eq!(session.told().await, "(end)");
    // Nothing shows from outside when it gives up; a session that comes later must find it so.
    tokio::time::sleep(Duration::from_secs(1)).await;
    coordinator.change(|manner| *manner = Manner::usual());
    let mut session = coordinator.session().await;
    assert_eq!((session.held(), session.told().await.as_str()), (Vec::new(), "ready 0"));
    session.train("u", "pid; finish", None).await;
    assert_eq!(session.told().await, engine.replace("t log", "u log"));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_address_is_tried_when_the_first_does_not_answer() {
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let mut standby = Coordinator::start(Manner { away: true, ..Manner::usual() }).await;
    let worker = Worker::start(&format!("{},{}", standby.url, coordinator.url));
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    let pipe = Pipe::new(&worker, "pipe");
    session.train("t", &format!("{}; checkpoint c; finish", pipe.act()), None).await;
    coordinator.change(|manner| manner.away = true);
    standby.change(|manner| manner.away = false);
    drop(session);

    let mut session = standby.session().await;
    assert_eq!(session.held(), ["t"]);
    pipe.let_go().await;
    assert_eq!(session.tell(3).await, [CHECKPOINT, "t finished: nothing", "ready 0"], "and stored there");
    assert_eq!(key("t").attempt, 1);
    worker.stop().await.unwrap();
}
