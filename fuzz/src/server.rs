//! A real coordinator, and a client that sends it any bytes to any method.

use crate::message::{Choices, DIGEST_OF_ABC, JOB, WIRE, grow};
use coordinator::listen::listen;
use coordinator::{Coordinator, Settings, VERSION};
use prost_reflect::MethodDescriptor;
use prost_reflect::prost::Message;
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::jobs_client::JobsClient;
use proto::v1::{FromWorker, Hello, ListJobsRequest, SubmitRequest, UploadHeader, UploadRequest, WorkerSlot};
use proto::v1::{from_worker, upload_request};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::bytes::{Buf, BufMut, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Messages that are sent in one call, at most.
const MESSAGES_MAX: usize = 6;
/// A call that is not refused goes on, as a session or a watch does: then it is left.
const LISTEN_FOR: Duration = Duration::from_millis(20);
/// Answers that are read of one call.
const ANSWERS_MAX: usize = 8;
/// A coordinator that answers nothing for so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// All methods that a client can call, from the descriptors: a new one is tried as soon as it is there.
pub fn methods() -> Vec<MethodDescriptor> {
    WIRE.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// A coordinator in this process, on a free port.
pub struct Server {
    channel: Channel,
    tally: Mutex<Tally>,
}

/// How often each method was called, by how it answered.
pub type Tally = BTreeMap<String, BTreeMap<&'static str, usize>>;

impl Server {
    /// Starts it with its state in a folder.
    pub async fn start(folder: &Path) -> Self {
        let coordinator = Coordinator::open(Settings::new(folder.to_owned())).await.expect("an empty folder will do");
        let listener = listen(([127, 0, 0, 1], 0).into(), false).await.expect("there is a free port");
        let address = listener.local_addr().expect("it listens");
        tokio::spawn(coordinator.run(listener, std::future::pending()));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URL");
        let server = Self { channel: endpoint.connect().await.expect("it listens"), tally: Mutex::default() };
        server.fill().await;
        server
    }

    /// Gives it a job and an artifact, both among the words that messages are made of.
    async fn fill(&self) {
        let mut jobs = JobsClient::new(self.channel.clone());
        let request = SubmitRequest { idempotency_key: "once".into(), job_json: JOB.into() };
        jobs.submit(request).await.expect("the job is valid");
        let header = UploadHeader { digest: DIGEST_OF_ABC.into(), bytes: 3 };
        let messages = [upload_request::Message::Header(header), upload_request::Message::Chunk("abc".into())];
        let requests = messages.map(|message| UploadRequest { message: Some(message) });
        let mut artifacts = ArtifactsClient::new(self.channel.clone());
        artifacts.upload(tokio_stream::iter(requests)).await.expect("the digest is right");
    }

    /// Calls a method with messages grown from `bytes`, some of them damaged. The answer does not matter, but that it is
    /// no internal error does: a handler that panics gives one.
    pub async fn call(&self, bytes: &[u8]) {
        let mut choices = Choices::new(bytes);
        let methods = methods();
        let method = &methods[choices.below(methods.len())];
        let mut messages: Vec<Bytes> =
            (0..=choices.below(MESSAGES_MAX)).map(|_| message(method, &mut choices)).collect();
        if method.name() == "Session" && choices.below(8) > 0 {
            messages.insert(0, hello(&mut choices));
        }
        let status = self.stream(method, messages).await.err().unwrap_or_else(|| Status::ok(""));
        let fault = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss);
        // What does not decode is answered by the gRPC library itself, as internal.
        let undecodable = status.message().contains("decod");
        assert!(!fault || undecodable, "{} answers {status:?}", method.full_name());
        let mut tally = self.tally.lock().expect("counting does not panic");
        let answers = tally.entry(method.full_name().to_owned()).or_default();
        *answers.entry(status.code().description()).or_default() += 1;
    }

    /// What was called so far, and what came of it.
    pub fn tally(&self) -> Tally {
        self.tally.lock().expect("counting does not panic").clone()
    }

    async fn stream(&self, method: &MethodDescriptor, messages: Vec<Bytes>) -> Result<(), Status> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = PathAndQuery::try_from(path).expect("names make a path");
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::internal(error.to_string()))?;
        let calling = async {
            let outgoing = tokio_stream::iter(messages);
            let mut answers = client.streaming(Request::new(outgoing), path, Raw).await?.into_inner();
            for _ in 0..ANSWERS_MAX {
                if answers.message().await?.is_none() {
                    break;
                }
            }
            Ok(())
        };
        timeout(LISTEN_FOR, calling).await.unwrap_or(Ok(()))
    }

    /// Checks that it still answers.
    pub async fn check_alive(&self) {
        let mut jobs = JobsClient::new(self.channel.clone());
        let listed = timeout(HANGS_AFTER, jobs.list_jobs(ListJobsRequest {})).await;
        listed.expect("the coordinator answers").expect("jobs can be listed");
    }
}

/// A message that a method may be sent, and one time in eight with a bit turned over.
fn message(method: &MethodDescriptor, choices: &mut Choices<'_>) -> Bytes {
    let mut bytes = grow(&method.input(), choices).encode_to_vec();
    if choices.below(8) == 7 && !bytes.is_empty() {
        let at = choices.below(bytes.len());
        bytes[at] ^= 1 << choices.below(8);
    }
    bytes.into()
}

/// What opens a session, so that the messages after it are looked at.
fn hello(choices: &mut Choices<'_>) -> Bytes {
    let slots = (0..2).map(|index| WorkerSlot { index, device: "cpu".into(), ..WorkerSlot::default() });
    let worker = ["w", "v", "u"][choices.below(3)].to_owned();
    let process = choices.below(2) as u64;
    let hello = Hello { worker, version: VERSION.into(), slots: slots.collect(), process, ..Hello::default() };
    FromWorker { message: Some(from_worker::Message::Hello(hello)), ..FromWorker::default() }.encode_to_vec().into()
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
