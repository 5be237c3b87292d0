//! A small corner of Fashion-MNIST, jobs on it, and tasks run as a worker would.
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::artifact::{self, Tensors};
use engine::error::TaskError;
use engine::event::{Event, Listener, Progress};
use engine::session::{ModelTask, Session, TrainTask};
use ensemble::job::{Job, Override};
use ensemble::run::{Goal, ModelKind, Run, Samples};
use tch::Device;

/// A folder with data and another for what tasks write.
pub struct Lab {
    pub data: tempfile::TempDir,
    pub scratch: tempfile::TempDir,
    pub session: Session,
}

impl Lab {
    /// The first `train` training images and `test` test images of Fashion-MNIST.
    pub fn new(train: usize, test: usize) -> Self {
        // Tests run side by side: more threads than cores would wait for one another.
        tch::set_num_threads(1);
        let data = tempfile::tempdir().unwrap();
        for (half, count) in [("train", train), ("t10k", test)] {
            for (kind, header, size) in [("images-idx3", 16, 784), ("labels-idx1", 8, 1)] {
                let name = format!("{half}-{kind}-ubyte");
                std::fs::write(data.path().join(&name), first_of(&name, count, header, size)).unwrap();
            }
        }
        Self { data, scratch: tempfile::tempdir().unwrap(), session: Session::new(Device::Cpu) }
    }

    /// A job on the data, with keys set as by `--set`.
    pub fn job(&self, set: &[&str]) -> Job {
        let path = self.data.path().display();
        let yaml = format!(
            "name: lab\ndata: {{format: idx, path: {path}, validation: 0}}\nmodel: {{architecture: cnn}}\n\
             train: {{epochs: 3, batch_size: 32}}\nmembers: [{{seeds: {{count: 1}}}}]\n"
        );
        let overrides: Vec<Override> = set.iter().map(|text| text.parse().unwrap()).collect();
        Job::parse(&yaml, &overrides).unwrap()
    }

    /// Runs a training task until its end, or until `steps` steps were asked for.
    pub fn train(
        &mut self,
        job: &Job,
        runs: Vec<(Run, Option<PathBuf>)>,
        steps: Option<u64>,
    ) -> (Events, Result<(), TaskError>) {
        let task = TrainTask { job: job.clone(), runs, scratch: self.scratch.path().to_owned() };
        let mut listener = Recorder { events: Vec::new(), steps_left: Cell::new(steps.unwrap_or(u64::MAX)) };
        let ended = engine::train::train(&mut self.session, &task, &mut listener);
        (Events(listener.events), ended)
    }

    /// Trains to the end.
    pub fn trained(&mut self, job: &Job, runs: &[Run]) -> Events {
        let (events, ended) = self.train(job, runs.iter().map(|run| (run.clone(), None)).collect(), None);
        ended.unwrap();
        events
    }

    pub fn model_task(&self, job: &Job, run: &Run, model: PathBuf) -> ModelTask {
        ModelTask { job: job.clone(), run: run.clone(), model, scratch: self.scratch.path().to_owned() }
    }
}

/// The head of one of the data set's files, as a file of its own.
fn first_of(name: &str, count: usize, header: usize, size: usize) -> Vec<u8> {
    let path = format!("{}/../../data/fashion-mnist/{name}.gz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}; `make setup` fetches it"));
    let mut bytes = vec![0; header + count * size];
    flate2::read::GzDecoder::new(file).read_exact(&mut bytes).unwrap();
    bytes[4..8].copy_from_slice(&(count as u32).to_be_bytes());
    bytes
}

/// Run `index` of a job, from a seed of its own.
pub fn run(job: &Job, index: u32) -> Run {
    Run {
        index,
        name: format!("seed-{index}"),
        seed: (job.seed << 16) | u64::from(index),
        model: job.model.clone(),
        train: job.train.clone(),
        samples: Samples::Training,
        goal: Goal::Final,
        averages: Vec::new(),
        branch_points: Vec::new(),
    }
}

struct Recorder {
    events: Vec<Event>,
    steps_left: Cell<u64>,
}

impl Listener for Recorder {
    fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    fn must_stop(&self) -> bool {
        let left = self.steps_left.get();
        self.steps_left.set(left.saturating_sub(1));
        left == 0
    }
}

/// Whoever listens to nothing and wants nothing.
pub struct Silent;

impl Listener for Silent {
    fn tell(&mut self, _: Event) {}

    fn must_stop(&self) -> bool {
        false
    }
}

/// What a task said.
#[derive(Debug)]
pub struct Events(pub Vec<Event>);

impl Events {
    /// The model files, by run and kind.
    pub fn models(&self) -> BTreeMap<(u32, ModelKind), PathBuf> {
        let model = |event: &Event| match event {
            Event::Model { run, kind, path, .. } => Some(((*run, *kind), path.clone())),
            _ => None,
        };
        self.0.iter().filter_map(model).collect()
    }

    /// The bytes of the model files.
    pub fn bytes(&self) -> BTreeMap<(u32, ModelKind), Vec<u8>> {
        self.models().into_iter().map(|(key, path)| (key, std::fs::read(path).unwrap())).collect()
    }

    /// The tensors of a run's model.
    pub fn tensors(&self, run: u32, kind: ModelKind) -> Tensors {
        tensors(&self.models()[&(run, kind)])
    }

    /// Run, step, branch and file of each checkpoint.
    pub fn checkpoints(&self) -> Vec<(u32, u64, Option<u32>, PathBuf)> {
        let checkpoint = |event: &Event| match event {
            Event::Checkpoint { run, step, branch, path } => Some((*run, *step, *branch, path.clone())),
            _ => None,
        };
        self.0.iter().filter_map(checkpoint).collect()
    }

    /// The checkpoint of a run at a step.
    pub fn checkpoint(&self, run: u32, step: u64) -> PathBuf {
        let found = self.checkpoints().into_iter().find(|found| (found.0, found.1) == (run, step));
        found.unwrap_or_else(|| panic!("no checkpoint of run {run} at step {step} in {:?}", self.checkpoints())).3
    }

    /// The reports on a run.
    pub fn progress(&self, of: u32) -> Vec<Progress> {
        let progress = |event: &Event| match event {
            Event::Progress { run, progress } if *run == of => Some(*progress),
            _ => None,
        };
        self.0.iter().filter_map(progress).collect()
    }
}

pub fn tensors(path: &Path) -> Tensors {
    artifact::read(path).unwrap().0
}

/// The largest difference between tensors of the same names.
pub fn distance(one: &Tensors, other: &Tensors) -> f64 {
    assert_eq!(one.len(), other.len());
    let of = |(name, tensor): &(String, tch::Tensor)| {
        let twin = &other.iter().find(|(known, _)| known == name).unwrap().1;
        (tensor - twin).abs().max().double_value(&[])
    };
    one.iter().map(of).fold(0.0, f64::max)
}
