//! The engine as a process, spoken to over its pipes as a worker does.
#![allow(clippy::unwrap_used)]

mod lab;

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ensemble::job::Job;
use lab::{Lab, run};
use prost::Message;
use proto::v1::engine_event::Event;
use proto::v1::engine_request::Request;
use proto::v1::{
    self, EngineEvent, EngineLoad, EngineModel, EngineModelWork, EnginePredict, EngineProgress, EngineRequest,
    EngineRun, EngineStop, EngineTrain, FailureClass,
};

/// A running engine; killed when dropped.
struct Engine {
    child: Child,
    requests: Option<ChildStdin>,
    events: BufReader<ChildStdout>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tutti-engine"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Self { requests: child.stdin.take(), child, events }
    }

    fn ready() -> Self {
        let mut engine = Self::start(&["--device", "cpu", "--threads", "1"]);
        let Event::Ready(ready) = engine.next().unwrap() else { panic!("the first event is not `ready`") };
        assert_eq!((ready.version.as_str(), ready.libtorch.as_str()), (env!("CARGO_PKG_VERSION"), "2.11.0"));
        engine
    }

    fn ask(&mut self, request: Request) {
        let bytes = EngineRequest { request: Some(request) }.encode_length_delimited_to_vec();
        self.requests.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    /// The next event; none at the end.
    fn next(&mut self) -> Option<Event> {
        let (mut varint, mut byte) = (Vec::new(), [0x80]);
        while byte[0] & 0x80 != 0 {
            if self.events.read(&mut byte).unwrap() == 0 {
                return None;
            }
            varint.push(byte[0]);
        }
        let mut bytes = vec![0; prost::decode_length_delimiter(varint.as_slice()).unwrap()];
        self.events.read_exact(&mut bytes).unwrap();
        EngineEvent::decode(bytes.as_slice()).unwrap().event
    }

    /// Events up to the one that ends a task.
    fn until_end(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while !matches!(events.last(), Some(Event::Finished(_) | Event::Failed(_))) {
            events.push(self.next().expect("the engine ended within a task"));
        }
        events
    }

    fn train(&mut self, lab: &Lab, job: &Job) {
        let runs =
            vec![EngineRun { run_json: serde_json::to_string(&run(job, 0)).unwrap(), resume_path: String::new() }];
        let scratch = lab.scratch.path().to_string_lossy().into_owned();
        self.ask(Request::Train(EngineTrain { job_json: job.to_json(), runs, scratch }));
    }
}

fn small_job(lab: &Lab) -> Job {
    lab.job(&["train.epochs=2", "data.validation=0.2", "model.architecture={mlp: {hidden: [8]}}"])
}

#[test]
fn a_job_is_trained_evaluated_and_asked() {
    let lab = Lab::new(64, 10);
    let job = small_job(&lab);
    let mut engine = Engine::ready();
    engine.train(&lab, &job);
    let events = engine.until_end();
    assert!(matches!(events.last(), Some(Event::Finished(_))), "{events:?}");
    let progress: Vec<_> =
        events.iter().filter_map(|event| if let Event::Progress(of) = event { of.progress } else { None }).collect();
    assert!(progress.last().is_some_and(|last| last.step == last.steps && last.validation_nll.is_some()));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Checkpoint(_))).count(), 1);
    let model = events
        .iter()
        .find_map(|event| if let Event::Model(model) = event { Some(model.clone()) } else { None })
        .unwrap();
    assert!(!model.batch_norm);

    engine.ask(Request::Evaluate(EngineModelWork {
        job_json: job.to_json(),
        run_json: serde_json::to_string(&run(&job, 0)).unwrap(),
        model_path: model.path.clone(),
        scratch: lab.scratch.path().to_string_lossy().into_owned(),
    }));
    let mut events = engine.until_end();
    let Some(Event::Finished(finished)) = events.pop() else { panic!("evaluation failed") };
    let further = Event::Progress(EngineProgress { run: 0, progress: None });
    // One for each batch of the validation part and of the test part: nobody takes a long evaluation for a dead one.
    assert_eq!(events, [further.clone(), further]);
    assert!(lab::tensors(finished.path.as_ref()).iter().any(|(name, _)| name == "test.logits"));

    engine.ask(Request::Load(EngineLoad {
        predictor: "p".to_owned(),
        models: vec![EngineModel { member: 4, path: model.path }],
    }));
    assert!(matches!(engine.next(), Some(Event::Loaded(loaded)) if loaded.predictor == "p" && loaded.error.is_empty()));
    let inputs =
        v1::Tensor { data_type: v1::DataType::Uint8.into(), shape: vec![2, 1, 28, 28], data: vec![7; 2 * 784].into() };
    engine.ask(Request::Predict(EnginePredict { request: 9, predictor: "p".to_owned(), inputs: Some(inputs.clone()) }));
    let Some(Event::Predicted(predicted)) = engine.next() else { panic!("no prediction") };
    assert_eq!((predicted.request, predicted.error.as_str()), (9, ""));
    assert_eq!(
        (predicted.members[0].member, predicted.members[0].classes, predicted.members[0].logits.len()),
        (4, 10, 80)
    );
    engine.ask(Request::Predict(EnginePredict { request: 10, predictor: "q".to_owned(), inputs: Some(inputs) }));
    assert!(
        matches!(engine.next(), Some(Event::Predicted(predicted)) if predicted.error == "predictor `q` is not loaded")
    );
}

#[test]
fn a_failure_ends_the_task_and_not_the_engine() {
    let lab = Lab::new(64, 10);
    let mut engine = Engine::ready();
    let lost = lab.job(&["data.path=/nowhere"]);
    engine.train(&lab, &lost);
    let Some(Event::Failed(failed)) = engine.until_end().pop() else { panic!("it did not fail") };
    assert_eq!(failed.class(), FailureClass::Data);
    let nonsense = EngineModelWork { job_json: "{".to_owned(), ..EngineModelWork::default() };
    engine.ask(Request::Calibrate(nonsense));
    let Some(Event::Failed(failed)) = engine.until_end().pop() else { panic!("it did not fail") };
    assert_eq!(failed.class(), FailureClass::User);
    engine.train(&lab, &small_job(&lab));
    assert!(matches!(engine.until_end().pop(), Some(Event::Finished(_))));
}

/// A stop that arrives before its task has begun counts for that task, and for none after it.
#[test]
fn a_stop_ends_the_task_at_work_and_no_other() {
    let lab = Lab::new(64, 10);
    let long = lab.job(&["train.epochs=100000", "model.architecture={mlp: {hidden: [8]}}"]);
    let mut engine = Engine::ready();
    engine.train(&lab, &long);
    engine.ask(Request::Stop(EngineStop {}));
    engine.train(&lab, &small_job(&lab));
    let Some(Event::Failed(failed)) = engine.until_end().pop() else { panic!("it was not stopped") };
    assert_eq!(failed.message, "stopped on request");
    assert!(matches!(engine.until_end().pop(), Some(Event::Finished(_))));
}

#[test]
fn the_engine_ends_with_its_input_even_at_work() {
    let lab = Lab::new(64, 10);
    let mut engine = Engine::ready();
    engine.train(&lab, &lab.job(&["train.epochs=100000", "model.architecture={mlp: {hidden: [8]}}"]));
    engine.requests = None;
    assert!(engine.child.wait().unwrap().success());
}

#[test]
fn a_request_that_is_none_ends_the_engine_with_a_status_of_its_own() {
    let mut engine = Engine::ready();
    engine.requests.as_mut().unwrap().write_all(&[0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap();
    assert_eq!(engine.child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    for device in ["cuda:4000", "gpu"] {
        let mut engine = Engine::start(&["--device", device]);
        assert!(engine.next().is_none());
        assert!(!engine.child.wait().unwrap().success());
    }
}
