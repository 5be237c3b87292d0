//! A coordinator that does as a test says, over real gRPC.

use crate::worker::within_reason;
use proto::v1::artifacts_server::{Artifacts, ArtifactsServer};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::workers_server::{Workers, WorkersServer};
use proto::v1::{
    Artifact, Chunk, DownloadRequest, FailureClass, FromWorker, Hello, Lease, LeaseKey, ModelWork, Renewed, ToWorker,
    TrainRun, TrainWork, UploadReply, UploadRequest, Welcome, lease, upload_request,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// The artifacts that a coordinator has, by digest.
pub type Store = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// How a coordinator greets.
#[derive(Clone, Copy)]
pub enum Greeting {
    /// With leases of this length, which heartbeats renew or not.
    Welcome { lease_ms: u64, renewing: bool },
    /// Not at all.
    Refusal,
}

impl Greeting {
    pub fn usual() -> Self {
        Self::Welcome { lease_ms: 15_000, renewing: true }
    }
}

/// A running coordinator. It goes with the test's runtime.
pub struct Coordinator {
    pub url: String,
    pub store: Store,
    sessions: mpsc::Receiver<Session>,
}

impl Coordinator {
    pub async fn start(greeting: Greeting) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (opened, sessions) = mpsc::channel(8);
        let store = Store::default();
        let workers = WorkersServer::new(Reception { greeting, opened, store: Arc::clone(&store) });
        let artifacts = ArtifactsServer::new(Shelf(Arc::clone(&store)));
        let server = Server::builder().add_service(workers).add_service(artifacts);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, store, sessions }
    }

    /// The next session that the worker opens.
    pub async fn session(&mut self) -> Session {
        within_reason(self.sessions.recv()).await.expect("the reception lives as long as its coordinator")
    }

    /// Puts an artifact into the store.
    pub fn put(&self, content: &str) -> Artifact {
        put(&self.store, content.as_bytes().to_vec())
    }

    /// Puts an artifact into the store whose bytes are others than its name says.
    pub fn put_damaged(&self, content: &str) -> Artifact {
        let artifact = self.put(content);
        self.store.lock().unwrap().get_mut(&artifact.digest).unwrap()[0] ^= 1;
        artifact
    }
}

fn put(store: &Store, bytes: Vec<u8>) -> Artifact {
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let artifact = Artifact { digest: digest.clone(), bytes: bytes.len() as u64 };
    store.lock().unwrap().insert(digest, bytes);
    artifact
}

/// The way to the worker, until one of both ends the session.
type Orders = Arc<Mutex<Option<mpsc::Sender<Result<ToWorker, Status>>>>>;

/// The coordinator's end of a session. Dropping it ends the session.
pub struct Session {
    pub hello: Hello,
    orders: Orders,
    told: mpsc::UnboundedReceiver<Message>,
    heartbeats: mpsc::UnboundedReceiver<()>,
    store: Store,
}

impl Session {
    pub async fn order(&self, order: Order) {
        send(&self.orders, order).await;
    }

    /// Grants a training task whose job is the script.
    pub async fn train(&self, task: &str, script: &str, resume: Option<Artifact>) {
        let runs = vec![TrainRun { run_json: String::new(), resume }];
        self.grant(task, script, lease::Work::Train(TrainWork { runs })).await;
    }

    /// Grants an evaluation whose job is the script.
    pub async fn evaluate(&self, task: &str, script: &str, model: Artifact) {
        let work = ModelWork { run_json: String::new(), model: Some(model) };
        self.grant(task, script, lease::Work::Evaluate(work)).await;
    }

    async fn grant(&self, task: &str, script: &str, work: lease::Work) {
        let (key, job_json) = (Some(key(task)), script.to_owned());
        self.order(Order::Lease(Lease { key, slot: 0, job_json, work: Some(work) })).await;
    }

    /// What the worker says next, heartbeats aside, in words.
    pub async fn told(&mut self) -> String {
        let message = within_reason(self.told.recv()).await;
        message.map_or_else(|| "(end)".to_owned(), |message| self.in_words(message))
    }

    /// The next so many messages.
    pub async fn tell(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(self.told().await);
        }
        told
    }

    /// Waits for a heartbeat that is sent from now on.
    pub async fn heartbeat(&mut self) {
        while self.heartbeats.try_recv().is_ok() {}
        within_reason(self.heartbeats.recv()).await.expect("the session is open");
    }

    fn in_words(&self, message: Message) -> String {
        let content = |artifact: Option<Artifact>| self.content(artifact);
        let task = |key: Option<LeaseKey>| key.unwrap_or_default().task;
        match message {
            Message::Hello(_) => "hello again".to_owned(),
            Message::Heartbeat(_) => "heartbeat".to_owned(),
            Message::Ready(ready) => format!("ready {}", ready.slot),
            Message::Progress(told) => format!("{} step {}", task(told.key), told.progress.unwrap_or_default().step),
            Message::Log(told) => format!("{} log {}", task(told.key), told.text),
            Message::Checkpoint(told) => format!(
                "{} checkpoint of run {} at step {} for branch {:?}: {}",
                task(told.key),
                told.run,
                told.step,
                told.branch,
                content(told.artifact)
            ),
            Message::Model(told) => format!("{} model of run {}: {}", task(told.key), told.run, content(told.artifact)),
            Message::Finished(told) => format!("{} finished: {}", task(told.key), content(told.artifact)),
            Message::Failed(told) => {
                let class = FailureClass::try_from(told.class).unwrap();
                format!("{} failed, {}: {}", task(told.key), class.as_str_name(), told.message)
            }
            Message::Hosted(told) => format!("hosted {}: {}", told.predictor, told.error),
            Message::Predicted(told) => {
                let members = told.members.iter().map(|member| (member.member, &member.logits));
                format!(
                    "predicted {} {}: {} {:?}",
                    told.request,
                    told.predictor,
                    told.error,
                    members.collect::<Vec<_>>()
                )
            }
            Message::Drained(_) => "drained".to_owned(),
        }
    }

    /// An artifact's content, which must be in the store by the time its name is told.
    fn content(&self, artifact: Option<Artifact>) -> String {
        let Some(artifact) = artifact else { return "nothing".to_owned() };
        let store = self.store.lock().unwrap();
        let bytes = store.get(&artifact.digest).expect("an artifact is told of once it is stored");
        assert_eq!(bytes.len() as u64, artifact.bytes);
        String::from_utf8_lossy(bytes).into_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.orders.lock().unwrap().take();
    }
}

/// An order to a worker that has left is lost.
async fn send(orders: &Orders, order: Order) {
    let orders = orders.lock().unwrap().clone();
    if let Some(orders) = orders {
        let _ = orders.send(Ok(ToWorker { message: Some(order) })).await;
    }
}

pub fn key(task: &str) -> LeaseKey {
    LeaseKey { task: task.to_owned(), attempt: 1 }
}

struct Reception {
    greeting: Greeting,
    opened: mpsc::Sender<Session>,
    store: Store,
}

#[tonic::async_trait]
impl Workers for Reception {
    type SessionStream = ReceiverStream<Result<ToWorker, Status>>;

    async fn session(&self, request: Request<Streaming<FromWorker>>) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let Some(Message::Hello(hello)) = inbound.message().await?.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("no hello"));
        };
        let Greeting::Welcome { lease_ms, renewing } = self.greeting else {
            return Err(Status::failed_precondition("this coordinator is of another version"));
        };
        let (orders, outbound) = mpsc::channel(64);
        let welcome = Order::Welcome(Welcome { heartbeat_ms: 20, lease_ms, ..Welcome::default() });
        orders.send(Ok(ToWorker { message: Some(welcome) })).await.unwrap();
        let ((tell, told), (beat, heartbeats)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let orders = Orders::new(Mutex::new(Some(orders)));
        let answers = Arc::clone(&orders);
        tokio::spawn(async move {
            while let Ok(Some(FromWorker { message: Some(message), .. })) = inbound.message().await {
                if !matches!(message, Message::Heartbeat(_)) {
                    let _ = tell.send(message);
                    continue;
                }
                let _ = beat.send(());
                if renewing {
                    send(&answers, Order::Renewed(Renewed {})).await;
                }
            }
            answers.lock().unwrap().take();
        });
        let session = Session { hello, orders, told, heartbeats, store: Arc::clone(&self.store) };
        self.opened.send(session).await.unwrap();
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

struct Shelf(Store);

#[tonic::async_trait]
impl Artifacts for Shelf {
    type DownloadStream = ReceiverStream<Result<Chunk, Status>>;

    async fn upload(&self, request: Request<Streaming<UploadRequest>>) -> Result<Response<UploadReply>, Status> {
        let mut inbound = request.into_inner();
        let (mut promised, mut bytes) = (String::new(), Vec::new());
        while let Some(UploadRequest { message: Some(message) }) = inbound.next().await.transpose()? {
            match message {
                upload_request::Message::Header(header) => promised = header.digest,
                upload_request::Message::Chunk(chunk) => bytes.extend(chunk),
            }
        }
        assert_eq!(put(&self.0, bytes).digest, promised);
        Ok(Response::new(UploadReply {}))
    }

    async fn download(&self, request: Request<DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let digest = request.into_inner().digest;
        let bytes = self.0.lock().unwrap().get(&digest).cloned().ok_or(Status::not_found("no such artifact"))?;
        let (chunks, outbound) = mpsc::channel(bytes.len().max(1));
        for chunk in bytes.chunks(2) {
            chunks.send(Ok(Chunk { data: chunk.to_vec().into() })).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}
