//! Hosted predictors: models in an engine of their own, answering while the slots train.

mod predictor;

use crate::backoff::Backoff;
use crate::engine::{Engine, EngineError, Output, Program};
use crate::outbox::{Outbox, SessionNumber};
use crate::transfer::{Cached, Transfer, TransferError};
use predictor::{Predictor, fetch_all};
use prost::Message as _;
use proto::v1::engine_event::Event;
use proto::v1::engine_request::Request;
use proto::v1::from_worker::Message;
use proto::v1::{EngineLoaded, EnginePredict, EnginePredicted, Host, Hosted, HostedModel, Predict, Predicted};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Commands not looked at yet. None of them takes long: fetching and starting happen beside.
pub const COMMANDS_MAX: usize = 64;
/// Predictions that the engine works on or that wait for it. More would only wait longer than their askers do.
const PREDICTIONS_MAX: usize = 32;
/// Predictors hosted at once.
const PREDICTORS_MAX: usize = 64;
/// The coordinator takes messages of up to 4 MiB; what is around the logits is small.
const ANSWER_BYTES_MAX: usize = (4 << 20) - (64 << 10);
/// After this many ends of the engine with no predictor loaded in between, the predictors are given up.
const ENDS_MAX: u32 = 5;
/// How long an engine that is no longer needed may take to exit.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What the serving side is told. When nobody can tell it anything any more, it ends its engine and is gone.
#[derive(Debug)]
pub enum Command {
    /// A session has begun. The models of an earlier one stay loaded: the coordinator will want them again.
    Attach(SessionNumber),
    /// Load these models.
    Host(Host),
    /// Forget the models of a predictor.
    Unhost(String),
    /// Predict.
    Predict(Predict),
    /// Answer what is asked already, and end.
    Drain,
}

/// The predictors that this worker hosts, and the engine that they are loaded in.
#[derive(Debug)]
pub struct Serving {
    program: Program,
    transfer: Transfer,
    outbox: Outbox,
    session: Option<SessionNumber>,
    is_draining: bool,
    predictors: BTreeMap<String, Predictor>,
    engine: Option<Engine>,
    /// Fetches and starts that go on beside the answering.
    background: JoinSet<Background>,
    starting: bool,
    restart: Option<Instant>,
    restarts: Backoff,
    ends: u32,
    /// The predictor of each request that the engine works on.
    in_flight: BTreeMap<u64, String>,
    generations: u64,
}

enum Background {
    Fetched { predictor: String, generation: u64, files: Result<Vec<Cached>, TransferError> },
    Started(Result<Engine, EngineError>),
}

impl Serving {
    /// Hosts predictors in engines started with `program`.
    pub fn new(program: Program, transfer: Transfer, outbox: Outbox) -> Self {
        Self {
            program,
            transfer,
            outbox,
            session: None,
            is_draining: false,
            predictors: BTreeMap::new(),
            engine: None,
            background: JoinSet::new(),
            starting: false,
            restart: None,
            restarts: Backoff::patient(),
            ends: 0,
            in_flight: BTreeMap::new(),
            generations: 0,
        }
    }

    /// Does what it is told, until it is told to end.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while !(self.is_draining && self.in_flight.is_empty()) {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                output = output(&mut self.engine) => self.hear(output).await,
                Some(Ok(done)) = self.background.join_next() => self.go_on(done).await,
                () = sleep_until(self.restart.unwrap_or_else(Instant::now)), if self.restart.is_some() => {
                    self.restart = None;
                    self.start_engine();
                }
            }
        }
        self.close_engine().await;
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(session) => self.session = Some(session),
            Command::Drain => self.is_draining = true,
            Command::Host(host) => self.host(host).await,
            Command::Unhost(predictor) => self.unhost(&predictor).await,
            Command::Predict(predict) => self.predict(predict).await,
        }
    }

    async fn go_on(&mut self, done: Background) {
        match done {
            Background::Fetched { predictor, generation, files } => self.fetched(&predictor, generation, files).await,
            Background::Started(engine) => self.started(engine).await,
        }
    }

    async fn hear(&mut self, output: Output) {
        match output {
            Output::Event(Event::Loaded(loaded)) => self.loaded(loaded).await,
            Output::Event(Event::Predicted(predicted)) => self.predicted(predicted).await,
            Output::Event(Event::Log(entry)) => tracing::info!(entry.text, "serving engine"),
            Output::Event(_) => {}
            Output::Line(line) => tracing::info!(line, "serving engine"),
            Output::Ended(ending) => {
                self.engine = None;
                self.engine_gone(&format!("the serving engine ended without a word: {ending}")).await;
            }
        }
    }

    async fn host(&mut self, Host { predictor, models }: Host) {
        let known = self.predictors.get(&predictor).filter(|known| known.models == models);
        if let Some(known) = known {
            // It was asked for in an earlier session. If it is still loading, this session hears of it then.
            if known.loaded {
                self.say_hosted(&predictor, "").await;
            }
            return;
        }
        if self.predictors.len() >= PREDICTORS_MAX && !self.predictors.contains_key(&predictor) {
            let error = format!("this worker hosts {PREDICTORS_MAX} predictors, as many as it can");
            return self.say_hosted(&predictor, &error).await;
        }
        self.generations += 1;
        self.fetch(predictor.clone(), self.generations, models.clone());
        let replaced = self.predictors.insert(predictor, Predictor::new(self.generations, models));
        if let Some(replaced) = replaced {
            self.tell_engine(replaced.unload()).await;
        }
        self.start_engine();
    }

    fn fetch(&mut self, predictor: String, generation: u64, models: Vec<HostedModel>) {
        let transfer = self.transfer.clone();
        self.background.spawn(async move {
            let files = fetch_all(&transfer, models).await;
            Background::Fetched { predictor, generation, files }
        });
    }

    async fn fetched(&mut self, name: &str, generation: u64, files: Result<Vec<Cached>, TransferError>) {
        let Some(predictor) = self.predictors.get_mut(name).filter(|known| known.generation == generation) else {
            return;
        };
        match files {
            Ok(files) => {
                predictor.files = Some(files);
                self.load(name).await;
            }
            Err(error) => {
                self.predictors.remove(name);
                self.say_hosted(name, &error.to_string()).await;
            }
        }
    }

    /// Has the engine load a predictor, if both the engine and the models are there.
    async fn load(&self, name: &str) {
        if let Some(load) = self.predictors.get(name).and_then(Predictor::load) {
            self.tell_engine(load).await;
        }
    }

    async fn loaded(&mut self, EngineLoaded { predictor, error }: EngineLoaded) {
        let is_meant = |(_, known): &(&String, &mut Predictor)| known.engine_name() == predictor;
        let Some((name, known)) = self.predictors.iter_mut().find(is_meant) else { return };
        let name = name.clone();
        known.loaded = error.is_empty();
        if known.loaded {
            self.ends = 0;
            self.restarts.reset();
        } else {
            self.predictors.remove(&name);
        }
        self.say_hosted(&name, &error).await;
    }

    async fn unhost(&mut self, name: &str) {
        let Some(forgotten) = self.predictors.remove(name) else { return };
        if self.predictors.is_empty() {
            self.close_engine().await;
        } else {
            self.tell_engine(forgotten.unload()).await;
        }
    }

    /// What an engine that is not there does not hear, the next one need not.
    async fn tell_engine(&self, request: Request) {
        if let Some(engine) = &self.engine {
            engine.send(request).await;
        }
    }

    async fn predict(&mut self, Predict { request, predictor, inputs }: Predict) {
        if self.is_draining {
            return self.say_failed(request, predictor, "this worker is about to stop".to_owned()).await;
        }
        let known = self.predictors.get(&predictor).filter(|known| known.loaded);
        let Some(name) = known.map(Predictor::engine_name) else {
            let error = format!("predictor `{predictor}` is not loaded on this worker");
            return self.say_failed(request, predictor, error).await;
        };
        if self.in_flight.len() >= PREDICTIONS_MAX {
            let error = format!("{PREDICTIONS_MAX} predictions are at work here, as many as may be");
            return self.say_failed(request, predictor, error).await;
        }
        self.in_flight.insert(request, predictor);
        self.tell_engine(Request::Predict(EnginePredict { request, predictor: name, inputs })).await;
    }

    async fn predicted(&mut self, EnginePredicted { request, error, members }: EnginePredicted) {
        let Some(predictor) = self.in_flight.remove(&request) else { return };
        let answer = Predicted { request, predictor, error, members };
        let bytes = answer.encoded_len();
        if bytes > ANSWER_BYTES_MAX {
            let error =
                format!("the answer has {bytes} bytes, at most {ANSWER_BYTES_MAX} are allowed; ask for fewer rows");
            return self.say_failed(request, answer.predictor, error).await;
        }
        self.say(Message::Predicted(answer)).await;
    }

    fn start_engine(&mut self) {
        if self.engine.is_some() || self.starting || self.restart.is_some() || self.predictors.is_empty() {
            return;
        }
        self.starting = true;
        let program = self.program.clone();
        self.background.spawn(async move { Background::Started(Engine::start(&program).await) });
    }

    async fn started(&mut self, engine: Result<Engine, EngineError>) {
        self.starting = false;
        match engine {
            Ok(engine) if self.predictors.is_empty() => engine.close(CLOSE_WITHIN).await,
            Ok(engine) => {
                self.engine = Some(engine);
                for name in self.names() {
                    self.load(&name).await;
                }
            }
            Err(error) => self.engine_gone(&error.to_string()).await,
        }
    }

    /// Answers what the engine will not answer any more, and sees to it that there will be another.
    async fn engine_gone(&mut self, why: &str) {
        tracing::warn!(why, "no serving engine");
        for (request, predictor) in std::mem::take(&mut self.in_flight) {
            self.say_failed(request, predictor, why.to_owned()).await;
        }
        for name in self.names() {
            self.say_hosted(&name, why).await;
        }
        self.predictors.values_mut().for_each(|predictor| predictor.loaded = false);
        self.ends += 1;
        if self.ends >= ENDS_MAX {
            self.predictors.clear();
            self.ends = 0;
        } else {
            self.restart = Some(Instant::now() + self.restarts.next());
        }
    }

    async fn close_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close(CLOSE_WITHIN).await;
        }
    }

    fn names(&self) -> Vec<String> {
        self.predictors.keys().cloned().collect()
    }

    async fn say_hosted(&self, predictor: &str, error: &str) {
        self.say(Message::Hosted(Hosted { predictor: predictor.to_owned(), error: error.to_owned() })).await;
    }

    async fn say_failed(&self, request: u64, predictor: String, error: String) {
        self.say(Message::Predicted(Predicted { request, predictor, error, members: Vec::new() })).await;
    }

    async fn say(&self, message: Message) {
        if let Some(session) = self.session {
            self.outbox.remark(session, message).await;
        }
    }
}

/// What the engine says next. Never comes while there is none.
async fn output(engine: &mut Option<Engine>) -> Output {
    match engine {
        Some(engine) => engine.output().await,
        None => std::future::pending().await,
    }
}
