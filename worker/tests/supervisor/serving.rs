//! Hosted predictors.

use crate::coordinator::{Coordinator, Manner, Session};
use crate::worker::Worker;
use proto::v1::to_worker::Message as Order;
use proto::v1::{Artifact, Host, HostedModel, Predict, Tensor, Unhost};

impl Session {
    async fn host(&self, predictor: &str, models: &[&Artifact]) {
        let model = |(member, artifact): (u32, &&Artifact)| HostedModel { member, artifact: Some((*artifact).clone()) };
        let models = (0..).zip(models).map(model).collect();
        self.order(Order::Host(Host { predictor: predictor.to_owned(), models })).await;
    }

    async fn predict(&self, request: u64, predictor: &str, inputs: &'static [u8]) {
        let inputs = Some(Tensor { data: inputs.into(), ..Tensor::default() });
        self.order(Order::Predict(Predict { request, predictor: predictor.to_owned(), inputs })).await;
    }
}

async fn joined() -> (Coordinator, Worker, Session) {
    let mut coordinator = Coordinator::start(Manner::usual()).await;
    let worker = Worker::start(&coordinator.url);
    let mut session = coordinator.session().await;
    assert_eq!(session.told().await, "ready 0");
    (coordinator, worker, session)
}

#[tokio::test]
async fn hosted_models_answer_while_the_slot_trains() {
    let (coordinator, worker, mut session) = joined().await;
    let (first, second) = (coordinator.put("first"), coordinator.put("second"));
    session.train("t", "until-stopped", None).await;
    session.host("p", &[&first, &second]).await;
    assert_eq!(session.told().await, "hosted p: ");
    session.predict(7, "p", b"in").await;
    assert_eq!(session.told().await, r#"predicted 7 p:  [(0, b"in"), (1, b"in")]"#);

    session.order(Order::Unhost(Unhost { predictor: "p".to_owned() })).await;
    session.predict(8, "p", b"in").await;
    assert_eq!(session.told().await, "predicted 8 p: predictor `p` is not loaded on this worker []");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_dead_serving_engine_is_told_of_and_replaced() {
    let (coordinator, worker, mut session) = joined().await;
    session.host("p", &[&coordinator.put("model")]).await;
    assert_eq!(session.told().await, "hosted p: ");
    session.predict(1, "p", b"abort").await;
    let why = "the serving engine ended without a word: killed by signal 6 (SIGABRT)";
    assert_eq!(session.tell(2).await, [format!("predicted 1 p: {why} []"), format!("hosted p: {why}")]);
    assert_eq!(session.told().await, "hosted p: ");
    session.predict(2, "p", b"in").await;
    assert_eq!(session.told().await, r#"predicted 2 p:  [(0, b"in")]"#);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn models_that_cannot_be_had_or_loaded_are_told_of() {
    let (coordinator, worker, mut session) = joined().await;
    session.host("bad", &[&coordinator.put("bad")]).await;
    assert_eq!(session.told().await, "hosted bad: no model of mine");
    let damaged = coordinator.put_damaged("damaged");
    session.host("damaged", &[&damaged]).await;
    let told = session.told().await;
    assert!(told.starts_with(&format!("hosted damaged: artifact {} arrived damaged", damaged.digest)), "{told}");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_new_session_finds_its_models_loaded() {
    let (mut coordinator, worker, mut session) = joined().await;
    let model = coordinator.put("model");
    session.host("p", &[&model]).await;
    assert_eq!(session.told().await, "hosted p: ");
    drop(session);
    let mut session = coordinator.session().await;
    coordinator.store.lock().unwrap().clear();
    assert_eq!(session.told().await, "ready 0");
    session.host("p", &[&model]).await;
    assert_eq!(session.told().await, "hosted p: ");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_predictor_is_replaced_by_one_of_the_same_name() {
    let (coordinator, worker, mut session) = joined().await;
    let (first, second) = (coordinator.put("first"), coordinator.put("second"));
    for models in [&[&first][..], &[&first, &second]] {
        session.host("p", models).await;
        assert_eq!(session.told().await, "hosted p: ");
    }
    session.predict(1, "p", b"in").await;
    assert_eq!(session.told().await, r#"predicted 1 p:  [(0, b"in"), (1, b"in")]"#);
    worker.stop().await.unwrap();
}
