//! A worker that does as a test says.

use crate::bytes;
use crate::running::{Running, soon};
use ensemble::run::Run;
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::from_worker::Message;
use proto::v1::lease::Work;
use proto::v1::to_worker::Message as Order;
use proto::v1::workers_client::WorkersClient;
use proto::v1::{self, FromWorker, Hello, Lease, LeaseKey, ToWorker, UploadRequest, WorkerSlot, upload_request};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::future::Future;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// A worker in session, with one slot.
pub struct Worker {
    /// How many reports it has numbered.
    reports: u64,
    outbox: mpsc::Sender<FromWorker>,
    inbox: Streaming<ToWorker>,
    channel: Channel,
    /// The member whose model has the digest: known to those who made it.
    members: BTreeMap<String, usize>,
}

impl Worker {
    /// Joins, and is welcome.
    pub async fn join(coordinator: &Running, name: &str) -> Self {
        let mut worker = Self::enter(coordinator, hello(name, 0)).await;
        let Order::Welcome(welcome) = worker.hear().await else { panic!("the first message is a welcome") };
        assert_eq!((welcome.heartbeat_ms, welcome.lease_ms), (2_000, 15_000));
        worker
    }

    /// Asks for a session.
    pub async fn knock(coordinator: &Running, name: &str, version: &str) -> Result<Self, Status> {
        Self::greet(coordinator, Hello { version: version.into(), ..hello(name, 0) }).await
    }

    /// Joins again as the process that it is, with a lease that it holds, and hears which are kept.
    pub async fn rejoin(
        coordinator: &Running,
        name: &str,
        process: u64,
        held: Option<LeaseKey>,
    ) -> (Self, Vec<LeaseKey>) {
        let held = held.into_iter().map(|key| v1::Held { slot: 0, key: Some(key) }).collect();
        let mut worker = Self::enter(coordinator, Hello { held, ..hello(name, process) }).await;
        let Order::Welcome(welcome) = worker.hear().await else { panic!("the first message is a welcome") };
        (worker, welcome.kept)
    }

    /// Gets a session, once its name is free: that is a moment after the cluster knows that who had it has left.
    async fn enter(coordinator: &Running, hello: Hello) -> Self {
        let knocking = async {
            loop {
                match Self::greet(coordinator, hello.clone()).await {
                    Err(status) if status.code() == Code::AlreadyExists => tokio::task::yield_now().await,
                    greeted => return greeted.unwrap(),
                }
            }
        };
        soon(knocking).await
    }

    /// Asks for a session in these words.
    pub async fn greet(coordinator: &Running, hello: Hello) -> Result<Self, Status> {
        let (outbox, messages) = mpsc::channel(16);
        outbox.send(FromWorker { message: Some(Message::Hello(hello)), report: 0 }).await.unwrap();
        let channel = coordinator.channel.clone();
        let mut workers = WorkersClient::new(channel.clone());
        let inbox = soon(workers.session(ReceiverStream::new(messages))).await?.into_inner();
        Ok(Self { reports: 0, outbox, inbox, channel, members: BTreeMap::new() })
    }

    /// Says something.
    pub async fn say(&self, message: Message) {
        self.outbox.send(FromWorker { message: Some(message), report: 0 }).await.unwrap();
    }

    /// Says something that must not be lost. Its number.
    pub async fn report(&mut self, message: Message) -> u64 {
        self.reports += 1;
        self.report_as(self.reports, message).await;
        self.reports
    }

    /// Says something that must not be lost, under a number that it may have had before.
    pub async fn report_as(&mut self, report: u64, message: Message) {
        self.reports = report;
        self.outbox.send(FromWorker { message: Some(message), report }).await.unwrap();
    }

    /// Hears that reports are recorded, up to this one.
    pub async fn hear_recorded(&mut self, report: u64) {
        match self.hear().await {
            Order::Recorded(recorded) => assert_eq!(recorded.report, report),
            other => panic!("a record was expected, not {other:?}"),
        }
    }

    /// The next that it is told.
    pub async fn hear(&mut self) -> Order {
        soon(self.inbox.message()).await.unwrap().unwrap().message.unwrap()
    }

    /// How the session ends, if nothing else is said before.
    pub async fn hear_the_end(&mut self) -> Result<Option<ToWorker>, Status> {
        soon(self.inbox.message()).await
    }

    /// Asks for a task and gets one.
    pub async fn lease(&mut self) -> Lease {
        self.say(Message::Ready(v1::Ready { slot: 0 })).await;
        loop {
            match self.hear().await {
                Order::Lease(lease) => return lease,
                // Who asks for a task is at none, so this is of one that is over; and hosting comes when it comes.
                Order::Revoke(_) | Order::Host(_) => (),
                other => panic!("a lease was expected, not {other:?}"),
            }
        }
    }

    /// Asks for tasks, and does them, until one is a training.
    pub async fn training(&mut self) -> Lease {
        loop {
            let lease = self.lease().await;
            if matches!(lease.work, Some(Work::Train(_))) {
                return lease;
            }
            self.carry_out(lease).await;
        }
    }

    /// Does tasks until something else is over.
    pub async fn work_until<T>(&mut self, over: impl Future<Output = T>) -> T {
        tokio::select! {
            over = over => over,
            () = self.work(usize::MAX) => unreachable!("that many tasks take for ever"),
        }
    }

    /// Puts bytes into the store.
    pub async fn upload(&self, content: &[u8]) -> v1::Artifact {
        let artifact = v1::Artifact { digest: digest(content), bytes: content.len() as u64 };
        upload(&mut ArtifactsClient::new(self.channel.clone()), &artifact, content).await.unwrap();
        artifact
    }

    /// Does so many tasks as an honest worker would.
    pub async fn work(&mut self, tasks: usize) {
        for _ in 0..tasks {
            let lease = self.lease().await;
            self.carry_out(lease).await;
        }
    }

    /// Does a task as an honest worker would.
    pub async fn carry_out(&mut self, lease: Lease) {
        let key = lease.key.unwrap();
        let artifact = match lease.work.unwrap() {
            Work::Train(train) => {
                self.train(&key, train).await;
                None
            }
            Work::Calibrate(model) => model.model,
            Work::Evaluate(model) => Some(self.evaluate(&model.model.unwrap().digest).await),
        };
        self.say(Message::Finished(v1::TaskFinished { key: Some(key), artifact })).await;
    }

    /// Each run's model has the run's index for its weight.
    async fn train(&mut self, key: &LeaseKey, train: v1::TrainWork) {
        for run in train.runs {
            let run: Run = serde_json::from_str(&run.run_json).unwrap();
            let progress = v1::Progress { step: 1, steps: 1, loss: 0.5, ..v1::Progress::default() };
            let progress = v1::TaskProgress { key: Some(key.clone()), run: run.index, progress: Some(progress) };
            self.say(Message::Progress(progress)).await;
            let text = format!("{} is trained", run.name);
            self.say(Message::Log(v1::TaskLog { key: Some(key.clone()), text })).await;
            let model = self.upload(&bytes::model(run.index as f32)).await;
            self.members.insert(model.digest.clone(), run.index as usize);
            self.say(stored(key, run.index, model)).await;
        }
    }

    /// What is no member's model, such as an average, knows nothing.
    async fn evaluate(&self, model: &str) -> v1::Artifact {
        let logits = self.members.get(model).map_or([0.0; 8], |member| bytes::logits(*member));
        self.upload(&bytes::predictions(&logits)).await
    }
}

/// What a worker with one slot says first.
fn hello(name: &str, process: u64) -> Hello {
    let slots = vec![WorkerSlot { device: "cpu".into(), ..WorkerSlot::default() }];
    Hello { worker: name.into(), version: coordinator::VERSION.into(), slots, process, ..Hello::default() }
}

/// The runs that a lease is for.
pub fn runs(lease: &Lease) -> Vec<u32> {
    let Some(Work::Train(train)) = &lease.work else { return Vec::new() };
    let index = |run: &v1::TrainRun| serde_json::from_str::<Run>(&run.run_json).unwrap().index;
    train.runs.iter().map(index).collect()
}

/// A run's final model.
pub fn stored(key: &LeaseKey, run: u32, artifact: v1::Artifact) -> Message {
    let kind = v1::ModelKind { kind: Some(v1::model_kind::Kind::Final(v1::FinalModel {})) };
    let (key, kind, artifact) = (Some(key.clone()), Some(kind), Some(artifact));
    Message::Model(v1::ModelStored { key, run, kind, artifact, batch_norm: false })
}

pub fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Uploads in two chunks.
pub async fn upload(
    artifacts: &mut ArtifactsClient<Channel>,
    announced: &v1::Artifact,
    content: &[u8],
) -> Result<(), Status> {
    let header = v1::UploadHeader { digest: announced.digest.clone(), bytes: announced.bytes };
    let (first, second) = content.split_at(content.len() / 2);
    let chunk = |chunk: &[u8]| upload_request::Message::Chunk(chunk.to_vec().into());
    let messages = [upload_request::Message::Header(header), chunk(first), chunk(second)];
    let requests: Vec<_> = messages.into_iter().map(|message| UploadRequest { message: Some(message) }).collect();
    soon(artifacts.upload(tokio_stream::iter(requests))).await.map(|_| ())
}
