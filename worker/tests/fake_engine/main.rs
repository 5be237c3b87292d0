//! An engine that computes nothing and does as the task's job says, word for word, be it dying. See [`Fake::act`].

use prost::Message;
use proto::v1::engine_event::Event;
use proto::v1::engine_request::Request;
use proto::v1::{
    EngineCheckpoint, EngineEvent, EngineFailed, EngineFinished, EngineLoad, EngineLoaded, EngineLog, EngineModelFile,
    EnginePredict, EnginePredicted, EngineProgress, EngineReady, EngineRequest, FailureClass, MemberLogits, Progress,
};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long `further` computes each time.
const FURTHER_EVERY: Duration = Duration::from_millis(200);

fn main() -> io::Result<()> {
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--pretend-version" {
            version = arguments.next().unwrap_or_default();
        }
    }
    let libtorch = "none".to_owned();
    say(Event::Ready(EngineReady { version, libtorch, device: "cpu".to_owned() }))?;
    let mut fake = Fake::default();
    while let Some(request) = read()? {
        fake.answer(request)?;
    }
    Ok(())
}

#[derive(Default)]
struct Fake {
    /// How many files it has written, each under a name of its own.
    written: u64,
    scratch: PathBuf,
    /// The files that the task starts from.
    inputs: Vec<String>,
    /// The members of each predictor.
    predictors: BTreeMap<String, Vec<u32>>,
}

impl Fake {
    fn answer(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Train(train) => {
                let inputs = train.runs.into_iter().map(|run| run.resume_path).collect();
                self.perform(&train.job_json, train.scratch, inputs)
            }
            Request::Calibrate(work) | Request::Evaluate(work) => {
                self.perform(&work.job_json, work.scratch, vec![work.model_path])
            }
            Request::Load(load) => self.load(load),
            Request::Predict(predict) => self.predict(predict),
            Request::Unload(unload) => {
                self.predictors.remove(&unload.predictor);
                Ok(())
            }
            Request::Stop(_) => Ok(()),
        }
    }

    fn perform(&mut self, script: &str, scratch: String, inputs: Vec<String>) -> io::Result<()> {
        (self.scratch, self.inputs) = (scratch.into(), inputs);
        script.split(';').try_for_each(|act| self.act(act.trim()))
    }

    fn act(&mut self, act: &str) -> io::Result<()> {
        let (verb, rest) = act.split_once(' ').unwrap_or((act, ""));
        match verb {
            "say" => log(rest),
            "pid" => log(&std::process::id().to_string()),
            "inputs" => self.inputs.iter().try_for_each(|path| log(&std::fs::read_to_string(path)?)),
            "stderr" => writeln!(io::stderr(), "{rest}"),
            "progress" => progress(rest.parse().unwrap_or(0)),
            "further" => (0..rest.parse().unwrap_or(0)).try_for_each(|_| further()),
            "checkpoint" => {
                let path = self.write("checkpoint", rest)?;
                say(Event::Checkpoint(EngineCheckpoint { run: 0, step: 3, path, branch: Some(1) }))
            }
            "passing" => {
                let (path, step) = (self.write("checkpoint", rest)?, rest.parse().unwrap_or(0));
                say(Event::Checkpoint(EngineCheckpoint { run: 0, step, path, branch: None }))
            }
            "model" => {
                let path = self.write("model", rest)?;
                say(Event::Model(EngineModelFile { run: 0, kind: None, path, batch_norm: true }))
            }
            "finish" => {
                let path = if rest.is_empty() { String::new() } else { self.write("outcome", rest)? };
                say(Event::Finished(EngineFinished { path }))
            }
            "fail" => fail(FailureClass::Data, rest),
            "until-stopped" => self.wait_for_stop(rest),
            "until-told" => self.wait_for_request(),
            // Until the test writes to this pipe.
            "await" => std::fs::read(rest).map(drop),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "nonsense" => io::stdout().write_all(&[0xff; 16]).and_then(|()| io::stdout().flush()),
            "exit" => std::process::exit(rest.parse().unwrap_or(1)),
            "abort" => std::process::abort(),
            _ => log(&format!("unknown act `{act}`")),
        }
    }

    /// What has been got so far is left behind as a checkpoint.
    fn wait_for_stop(&mut self, so_far: &str) -> io::Result<()> {
        self.wait_for_request()?;
        if !so_far.is_empty() {
            self.act(&format!("checkpoint {so_far}"))?;
        }
        fail(FailureClass::Infrastructure, "stopped on request")
    }

    fn wait_for_request(&self) -> io::Result<()> {
        while !matches!(read()?, Some(Request::Stop(_)) | None) {}
        Ok(())
    }

    fn write(&mut self, name: &str, content: &str) -> io::Result<String> {
        self.written += 1;
        let path = self.scratch.join(format!("{name}-{}", self.written));
        std::fs::write(&path, content)?;
        Ok(text(&path))
    }

    /// A model whose file says `bad` does not load.
    fn load(&mut self, EngineLoad { predictor, models }: EngineLoad) -> io::Result<()> {
        let bad = models.iter().any(|model| std::fs::read_to_string(&model.path).is_ok_and(|text| text == "bad"));
        let error = if bad { "no model of mine".to_owned() } else { String::new() };
        self.predictors.insert(predictor.clone(), models.into_iter().map(|model| model.member).collect());
        say(Event::Loaded(EngineLoaded { predictor, error }))
    }

    /// Every member's logits are the bytes that came in. The input `abort` ends the engine.
    fn predict(&self, EnginePredict { request, predictor, inputs }: EnginePredict) -> io::Result<()> {
        let logits = inputs.unwrap_or_default().data;
        if logits.as_ref() == b"abort" {
            std::process::abort();
        }
        let members = self.predictors.get(&predictor).cloned().unwrap_or_default();
        let members = members.into_iter().map(|member| MemberLogits { member, logits: logits.clone(), classes: 1 });
        say(Event::Predicted(EnginePredicted { request, error: String::new(), members: members.collect() }))
    }
}

fn progress(step: u64) -> io::Result<()> {
    let progress = Some(Progress { step, ..Progress::default() });
    say(Event::Progress(EngineProgress { run: 0, progress }))
}

/// Computes for a moment, and says no more than that it has.
fn further() -> io::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < FURTHER_EVERY {
        std::hint::spin_loop();
    }
    say(Event::Progress(EngineProgress { run: 0, progress: None }))
}

fn log(text: &str) -> io::Result<()> {
    say(Event::Log(EngineLog { text: text.to_owned() }))
}

fn fail(class: FailureClass, message: &str) -> io::Result<()> {
    say(Event::Failed(EngineFailed { class: class.into(), message: message.to_owned() }))
}

fn say(event: Event) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&EngineEvent { event: Some(event) }.encode_length_delimited_to_vec())?;
    stdout.flush()
}

/// The next request; none when the worker has closed the pipe.
fn read() -> io::Result<Option<Request>> {
    let mut stdin = io::stdin().lock();
    let (mut varint, mut byte) = (Vec::new(), [0]);
    while varint.last().is_none_or(|last| last & 0x80 != 0) {
        if stdin.read(&mut byte)? == 0 {
            return Ok(None);
        }
        varint.push(byte[0]);
    }
    let mut frame = vec![0; prost::decode_length_delimiter(varint.as_slice())?];
    stdin.read_exact(&mut frame)?;
    Ok(EngineRequest::decode(frame.as_slice())?.request)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
