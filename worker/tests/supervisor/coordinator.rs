//! A coordinator that does as a test says, over real gRPC.

use crate::worker::within_reason;
use proto::v1::artifacts_server::{Artifacts, ArtifactsServer};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::workers_server::{Workers, WorkersServer};
use proto::v1::{
    Artifact, Chunk, DownloadRequest, FailureClass, FromWorker, Hello, Lease, LeaseKey, ModelWork, Recorded, Renewed,
    ToWorker, TrainRun, TrainWork, UploadReply, UploadRequest, Welcome, lease, upload_request,
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

/// How a coordinator behaves, which a test may change at any time.
#[derive(Clone, Copy)]
pub struct Manner {
    pub lease_ms: u64,
    /// Whether heartbeats renew the leases.
    pub renewing: bool,
    /// Whether reports are recorded.
    pub recording: bool,
    /// Whether leases that a worker still holds are kept.
    pub keeping: bool,
    /// Whether it is there at all.
    pub away: bool,
    /// Whether it will have the worker.
    pub refusing: bool,
    pub uploads: Uploads,
}

/// What becomes of uploads.
#[derive(Clone, Copy)]
pub enum Uploads {
    Stored,
    /// They are never answered.
    Hung,
    /// So many more of them fail for want of room.
    Failing(u32),
}

impl Manner {
    pub fn usual() -> Self {
        let (uploads, lease_ms) = (Uploads::Stored, 15_000);
        Self { lease_ms, renewing: true, recording: true, keeping: true, away: false, refusing: false, uploads }
    }

    pub fn refusing() -> Self {
        Self { refusing: true, ..Self::usual() }
    }

    /// Leases that end soon, because nothing renews them; not before a task has begun, though.
    pub fn fading() -> Self {
        Self { lease_ms: 3_000, renewing: false, ..Self::usual() }
    }
}

/// What a coordinator has, and what has come to pass.
#[derive(Clone)]
struct Desk {
    manner: Arc<Mutex<Manner>>,
    store: Store,
    /// `welcome` and `upload`, as they came.
    events: Arc<Mutex<Vec<&'static str>>>,
}

impl Desk {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap()
    }

    fn note(&self, event: &'static str) {
        self.events.lock().unwrap().push(event);
    }

    fn check_presence(&self) -> Result<(), Status> {
        if self.manner().away { Err(Status::unavailable("nobody is here")) } else { Ok(()) }
    }

    /// Whether one more upload fails.
    fn fails_upload(&self) -> bool {
        match &mut self.manner.lock().unwrap().uploads {
            Uploads::Failing(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// A running coordinator. It goes with the test's runtime.
pub struct Coordinator {
    pub url: String,
    pub store: Store,
    desk: Desk,
    sessions: mpsc::Receiver<Session>,
}

impl Coordinator {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (opened, sessions) = mpsc::channel(8);
        let store = Store::default();
        let manner = Arc::new(Mutex::new(manner));
        let desk = Desk { manner, store: Arc::clone(&store), events: Arc::default() };
        let workers = WorkersServer::new(Reception { desk: desk.clone(), opened });
        let server = Server::builder().add_service(workers).add_service(ArtifactsServer::new(Shelf(desk.clone())));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, store, desk, sessions }
    }

    /// Changes how it behaves.
    pub fn change(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.desk.manner.lock().unwrap());
    }

    /// `welcome` and `upload`, as they came.
    pub fn events(&self) -> Vec<&'static str> {
        self.desk.events.lock().unwrap().clone()
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
    told: mpsc::UnboundedReceiver<FromWorker>,
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
        self.told_with_number().await.1
    }

    /// The same, after the report's number.
    pub async fn told_with_number(&mut self) -> (u64, String) {
        match within_reason(self.told.recv()).await {
            Some(FromWorker { report, message }) => (report, self.in_words(message.unwrap())),
            None => (0, "(end)".to_owned()),
        }
    }

    /// The tasks that the worker said it holds.
    pub fn held(&self) -> Vec<String> {
        self.hello.held.iter().map(|held| held.key.clone().unwrap_or_default().task).collect()
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
            Message::Yielded(told) => format!("{} yielded", task(told.key)),
            Message::Damaged(told) => format!("{} damaged: {}", task(told.key), told.digest),
        }
    }

    /// An artifact's content, which must be in the store by the time its name is told, if uploads go there at all.
    fn content(&self, artifact: Option<Artifact>) -> String {
        let Some(artifact) = artifact else { return "nothing".to_owned() };
        let store = self.store.lock().unwrap();
        let Some(bytes) = store.get(&artifact.digest) else { return format!("{} elsewhere", artifact.digest) };
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
    desk: Desk,
    opened: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl Workers for Reception {
    type SessionStream = ReceiverStream<Result<ToWorker, Status>>;

    async fn session(&self, request: Request<Streaming<FromWorker>>) -> Result<Response<Self::SessionStream>, Status> {
        self.desk.check_presence()?;
        let mut inbound = request.into_inner();
        let Some(Message::Hello(hello)) = inbound.message().await?.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("no hello"));
        };
        let Manner { lease_ms, refusing, keeping, .. } = self.desk.manner();
        if refusing {
            return Err(Status::failed_precondition("this coordinator is of another version"));
        }
        let (orders, outbound) = mpsc::channel(64);
        let kept = hello.held.iter().filter_map(|held| held.key.clone()).filter(|_| keeping).collect();
        let welcome = Order::Welcome(Welcome { heartbeat_ms: 20, lease_ms, kept, recorded: 0 });
        self.desk.note("welcome");
        orders.send(Ok(ToWorker { message: Some(welcome) })).await.unwrap();
        let ((tell, told), (beat, heartbeats)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let orders = Orders::new(Mutex::new(Some(orders)));
        let (answers, desk) = (Arc::clone(&orders), self.desk.clone());
        tokio::spawn(async move {
            while let Ok(Some(said)) = inbound.message().await {
                let (report, manner) = (said.report, desk.manner());
                if matches!(said.message, Some(Message::Heartbeat(_))) {
                    let _ = beat.send(());
                    if manner.renewing {
                        send(&answers, Order::Renewed(Renewed {})).await;
                    }
                    continue;
                }
                let _ = tell.send(said);
                if report > 0 && manner.recording {
                    send(&answers, Order::Recorded(Recorded { report })).await;
                }
            }
            answers.lock().unwrap().take();
        });
        let session = Session { hello, orders, told, heartbeats, store: Arc::clone(&self.desk.store) };
        self.opened.send(session).await.unwrap();
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

struct Shelf(Desk);

#[tonic::async_trait]
impl Artifacts for Shelf {
    type DownloadStream = ReceiverStream<Result<Chunk, Status>>;

    async fn upload(&self, request: Request<Streaming<UploadRequest>>) -> Result<Response<UploadReply>, Status> {
        self.0.note("upload");
        self.0.check_presence()?;
        if self.0.fails_upload() {
            return Err(Status::resource_exhausted("the disk is full"));
        }
        if let Uploads::Hung = self.0.manner().uploads {
            std::future::pending::<()>().await;
        }
        let mut inbound = request.into_inner();
        let (mut promised, mut bytes) = (String::new(), Vec::new());
        while let Some(UploadRequest { message: Some(message) }) = inbound.next().await.transpose()? {
            match message {
                upload_request::Message::Header(header) => promised = header.digest,
                upload_request::Message::Chunk(chunk) => bytes.extend(chunk),
            }
        }
        assert_eq!(put(&self.0.store, bytes).digest, promised);
        Ok(Response::new(UploadReply {}))
    }

    async fn download(&self, request: Request<DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        self.0.check_presence()?;
        let digest = request.into_inner().digest;
        let bytes = self.0.store.lock().unwrap().get(&digest).cloned().ok_or(Status::not_found("no such artifact"))?;
        let (chunks, outbound) = mpsc::channel(bytes.len().max(1));
        for chunk in bytes.chunks(2) {
            chunks.send(Ok(Chunk { data: chunk.to_vec().into() })).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}
