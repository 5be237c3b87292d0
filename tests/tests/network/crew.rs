//! A crew without engines: it trains by letting simulated time pass. What it makes is a pure function of what it was asked
//! for, so that whoever makes it, and however often, the bytes are the same.

use super::bytes::{self, EPOCHS};
use super::oracle::Oracle;
use super::wires::{COORDINATOR, dial};
use ensemble::id::Digest;
use ensemble::run::Run;
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::from_worker::Message;
use proto::v1::lease::Work;
use proto::v1::{
    Artifact, CheckpointStored, DownloadRequest, FinalModel, Host, Lease, LeaseKey, ModelKind, ModelStored, ModelWork,
    Predict, Ready, TaskFinished, TrainRun, UploadHeader, UploadRequest, Yielded, model_kind, upload_request,
};
use sha2::{Digest as _, Sha256};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::{Endpoint, Uri};
use worker::{Crew, Gate, Outbox, Overrun, SessionNumber};

/// How long an epoch of one run takes.
const EPOCH: Duration = Duration::from_secs(4);
/// How long an evaluation takes.
const EVALUATION: Duration = Duration::from_secs(2);
/// The pause after an upload that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// The slots of one worker process, which are one.
#[derive(Clone)]
pub struct ScriptedCrew {
    process: String,
    outbox: Outbox,
    gate: Gate,
    oracle: Oracle,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    session: Option<SessionNumber>,
    at_work: Option<(LeaseKey, Arc<Notify>)>,
}

impl ScriptedCrew {
    pub fn new(process: String, outbox: Outbox, gate: Gate, oracle: Oracle) -> Self {
        Self { process, outbox, gate, oracle, slot: Arc::default() }
    }

    async fn work_off(self, lease: Lease, stop: Arc<Notify>) {
        let key = lease.key.clone().unwrap_or_default();
        self.oracle.begin(&key.task, key.attempt, &self.process);
        tokio::select! {
            () = self.outbox.lost(&key) => {}
            () = self.work(&key, lease, &stop) => {}
        }
        let session = {
            let mut slot = self.slot.lock().unwrap();
            slot.at_work = None;
            slot.session
        };
        self.ask(session).await;
    }

    async fn ask(&self, session: Option<SessionNumber>) {
        if let Some(session) = session {
            self.outbox.remark(session, Message::Ready(Ready { slot: 0 })).await;
        }
    }

    async fn work(&self, key: &LeaseKey, lease: Lease, stop: &Notify) {
        let done = match lease.work.expect("a lease is for something") {
            Work::Train(train) => self.train(key, train.runs, stop).await,
            Work::Evaluate(work) | Work::Calibrate(work) => Some(self.evaluate(work).await),
        };
        let named = Some(key.clone());
        let last = match done {
            Some(artifact) => Message::Finished(TaskFinished { key: named, artifact }),
            None => Message::Yielded(Yielded { key: named }),
        };
        self.outbox.report(key, last).await;
    }

    /// Trains a pack. Nothing when it was stopped early.
    async fn train(&self, key: &LeaseKey, runs: Vec<TrainRun>, stop: &Notify) -> Option<Option<Artifact>> {
        for TrainRun { run_json, resume } in runs {
            let run: Run = serde_json::from_str(&run_json).expect("a run is what the coordinator says");
            let begun = match resume {
                Some(checkpoint) => bytes::epochs_of(&run, &self.download(&checkpoint).await),
                None => 0,
            };
            for epoch in begun + 1..=EPOCHS {
                tokio::select! {
                    () = sleep(EPOCH) => self.oracle.trained(),
                    () = stop.notified() => return None,
                }
                let artifact = Some(self.upload(bytes::checkpoint(&run, epoch)).await);
                let stored =
                    CheckpointStored { key: Some(key.clone()), run: run.index, step: epoch, artifact, branch: None };
                self.outbox.report(key, Message::Checkpoint(stored)).await;
            }
            let artifact = Some(self.upload(bytes::model(&run)).await);
            let kind = Some(ModelKind { kind: Some(model_kind::Kind::Final(FinalModel {})) });
            let stored = ModelStored { key: Some(key.clone()), run: run.index, kind, artifact, batch_norm: false };
            self.outbox.report(key, Message::Model(stored)).await;
        }
        Some(None)
    }

    async fn evaluate(&self, work: ModelWork) -> Option<Artifact> {
        let run: Run = serde_json::from_str(&work.run_json).expect("a run is what the coordinator says");
        let model = self.download(&work.model.expect("a model is to be evaluated")).await;
        assert_eq!(model, bytes::model(&run), "a model is its run's");
        sleep(EVALUATION).await;
        Some(self.upload(bytes::predictions(&run)).await)
    }

    async fn upload(&self, content: Vec<u8>) -> Artifact {
        let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        let artifact = Artifact { digest: digest.clone(), bytes: content.len() as u64 };
        let header = UploadHeader { digest, bytes: artifact.bytes };
        let messages = [upload_request::Message::Header(header), upload_request::Message::Chunk(content.into())];
        let requests = messages.map(|message| UploadRequest { message: Some(message) });
        self.insist(|| {
            let requests = requests.clone();
            async move { client().await?.upload(tokio_stream::iter(requests)).await.map(drop) }
        })
        .await;
        artifact
    }

    async fn download(&self, artifact: &Artifact) -> Vec<u8> {
        let wanted = Digest::try_from(artifact.digest.clone()).expect("artifacts are named by digests");
        self.insist(|| {
            let request = DownloadRequest { digest: wanted.to_string() };
            async move {
                let mut chunks = client().await?.download(request).await?.into_inner();
                let mut content = Vec::new();
                while let Some(chunk) = chunks.message().await? {
                    content.extend_from_slice(&chunk.data);
                }
                Ok(content)
            }
        })
        .await
    }

    /// Tries again for as long as the lease is held, and only while the gate is open.
    async fn insist<T, F: Future<Output = Result<T, Status>>>(&self, attempt: impl Fn() -> F) -> T {
        loop {
            self.gate.opened().await;
            let tried = tokio::select! {
                tried = attempt() => tried,
                () = self.gate.closed() => continue,
            };
            match tried {
                Ok(done) => return done,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

async fn client() -> Result<ArtifactsClient<tonic::transport::Channel>, Status> {
    let endpoint = Endpoint::from_static(COORDINATOR)
        .connect_timeout(Duration::from_secs(3))
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(8))
        .keep_alive_while_idle(true);
    let channel = dial(endpoint).await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(ArtifactsClient::new(channel))
}

impl Crew for ScriptedCrew {
    fn attach(&self, session: SessionNumber, _coordinator: &Uri) -> Result<(), Overrun> {
        let mut slot = self.slot.lock().unwrap();
        slot.session = Some(session);
        match &slot.at_work {
            Some((key, _)) => self.oracle.reattached(&key.task, key.attempt),
            None => drop(tokio::spawn({
                let crew = self.clone();
                async move { crew.ask(Some(session)).await }
            })),
        }
        Ok(())
    }

    fn grant(&self, lease: Lease) -> Result<(), Overrun> {
        let (key, stop) = (lease.key.clone().unwrap_or_default(), Arc::new(Notify::new()));
        self.outbox.hold(lease.slot, key.clone());
        self.slot.lock().unwrap().at_work = Some((key, Arc::clone(&stop)));
        tokio::spawn(self.clone().work_off(lease, stop));
        Ok(())
    }

    fn revoke(&self, key: &LeaseKey) {
        self.outbox.let_go(key);
    }

    fn ask_back(&self, key: &LeaseKey) -> Result<(), Overrun> {
        if let Some((held, stop)) = &self.slot.lock().unwrap().at_work
            && held == key
        {
            stop.notify_one();
        }
        Ok(())
    }

    fn host(&self, _: Host) -> Result<(), Overrun> {
        Ok(())
    }

    fn unhost(&self, _: String) -> Result<(), Overrun> {
        Ok(())
    }

    fn predict(&self, _: Predict, _: SessionNumber) {}

    fn drain(&mut self, _: Duration) -> impl Future<Output = ()> + Send + use<> {
        let (slot, outbox) = (Arc::clone(&self.slot), self.outbox.clone());
        async move {
            if let Some((_, stop)) = &slot.lock().unwrap().at_work {
                stop.notify_one();
            }
            outbox.settled().await;
        }
    }
}
