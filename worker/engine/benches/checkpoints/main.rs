//! What checkpoints cost training: one run on Fashion-MNIST, cut into stretches of equally many steps, of which every
//! second one begins with a checkpoint.
//!
//! `cargo bench --profile release -p engine --bench checkpoints [NAME…]` trains as the engine does for a worker: what it
//! hands over is hashed and removed on another thread, as by the worker. A ratio is that of two neighboring stretches, so
//! that nothing which comes and goes more slowly is in it; printed are the median, the quartiles and n. A stretch is much
//! shorter than an epoch of the whole data, after which checkpoints really come: `of an epoch` is the same cost over that.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use engine::event::{Event, Listener};
use engine::session::{Session, TrainTask};
use ensemble::job::Job;
use ensemble::run::{Goal, Run, Samples};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use tch::Device;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/fashion-mnist");
/// Images of a real epoch.
const EPOCH: usize = 60_000;

struct Setting {
    name: &'static str,
    architecture: &'static str,
    batch: usize,
    /// Steps of a stretch.
    stretch: usize,
    /// Pairs of stretches, one with a checkpoint and one without.
    pairs: usize,
}

const SETTINGS: [Setting; 3] = [
    Setting { name: "cnn", architecture: "cnn", batch: 128, stretch: 60, pairs: 25 },
    Setting { name: "mlp", architecture: "{mlp: {hidden: [2048, 2048, 2048]}}", batch: 128, stretch: 40, pairs: 25 },
    Setting { name: "resnet18", architecture: "resnet18", batch: 64, stretch: 8, pairs: 15 },
];

fn main() {
    engine::libtorch::initialize().unwrap();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for setting in SETTINGS.iter().filter(|of| wanted.is_empty() || wanted.iter().any(|name| name == of.name)) {
        measure(setting);
    }
}

fn measure(setting: &Setting) {
    let worker = train(setting);
    let megabytes = worker.bytes as f64 / 1e6 / setting.pairs as f64;
    let pairs = pairs(&worker.steps.into_inner(), setting.stretch);
    let [least, share, most] = quartiles(pairs.iter().map(|[with, without]| 100.0 * (with / without - 1.0)));
    let [_, cost, _] = quartiles(pairs.iter().map(|[with, without]| with - without));
    let [_, stretch, _] = quartiles(pairs.iter().map(|[_, without]| *without));
    let of_an_epoch = 100.0 * cost / (stretch * (EPOCH / setting.batch / setting.stretch) as f64);
    println!(
        "{:9} {megabytes:5.1} MB every {stretch:.2} s: {share:+.2} % [{least:+.2}, {most:+.2}], {:.0} ms each, \
         {of_an_epoch:+.2} % of an epoch, n = {}",
        setting.name,
        1000.0 * cost,
        pairs.len()
    );
}

/// Seconds of each stretch that begins with a checkpoint, and of the one after it. A checkpoint follows a step at once, and
/// so belongs to what comes after the step's beginning.
fn pairs(steps: &[Instant], stretch: usize) -> Vec<[f64; 2]> {
    let begins: Vec<Instant> = steps[stretch - 1..].iter().copied().step_by(stretch).collect();
    let seconds: Vec<f64> = begins.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    // The first pair warms up.
    seconds.as_chunks().0[1..].to_vec()
}

/// The first, the second and the third.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[quarter * (values.len() - 1) / 4])
}

fn train(setting: &Setting) -> Worker {
    let (data, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stretches = 2 * setting.pairs + 1;
    let steps = stretches * setting.stretch;
    repeat("images-idx3", 16, 784, steps * setting.batch, data.path());
    repeat("labels-idx1", 8, 1, steps * setting.batch, data.path());
    let yaml = format!(
        "name: checkpoints\ndata: {{format: idx, path: {}, validation: 0}}\nmodel: {{architecture: {}}}\n\
         train: {{epochs: 1, batch_size: {}}}\nmembers: [{{seeds: {{count: 1}}}}]\n",
        data.path().display(),
        setting.architecture,
        setting.batch
    );
    let job = Job::parse(&yaml, &[]).unwrap();
    let run = Run {
        index: 0,
        name: "seed-0".to_owned(),
        seed: 0,
        model: job.model.clone(),
        train: job.train.clone(),
        samples: Samples::Training,
        goal: Goal::Final,
        averages: Vec::new(),
        branch_points: (1..stretches).step_by(2).map(|begun| begun as f64 / stretches as f64).collect(),
    };
    let task = TrainTask { job, runs: vec![(run, None)], scratch: scratch.path().to_owned() };
    let (files, handed_over) = sync_channel::<PathBuf>(4);
    let hashing = thread::spawn(move || handed_over.into_iter().for_each(|path| take(&path)));
    let mut worker = Worker { files: Some(files), bytes: 0, steps: RefCell::default() };
    engine::train::train(&mut Session::new(Device::Cpu), &task, &mut worker).unwrap();
    worker.files = None;
    hashing.join().unwrap();
    worker
}

/// A worker that takes files as they come.
struct Worker {
    files: Option<SyncSender<PathBuf>>,
    /// Of all checkpoints.
    bytes: u64,
    /// When each step began.
    steps: RefCell<Vec<Instant>>,
}

impl Worker {
    fn hand_over(&self, path: PathBuf) {
        self.files.as_ref().unwrap().send(path).unwrap();
    }
}

impl Listener for Worker {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Checkpoint { path, .. } => {
                self.bytes += path.metadata().unwrap().len();
                self.hand_over(path);
            }
            Event::Model { path, .. } => self.hand_over(path),
            _ => {}
        }
    }

    fn must_stop(&self) -> bool {
        self.steps.borrow_mut().push(Instant::now());
        false
    }
}

fn take(path: &Path) {
    std::hint::black_box(Sha256::digest(std::fs::read(path).unwrap()));
    std::fs::remove_file(path).unwrap();
}

/// Writes a training file with `count` items: those of Fashion-MNIST, again and again. The test files are small ones.
fn repeat(kind: &str, header: usize, size: usize, count: usize, folder: &Path) {
    let mut bytes = Vec::new();
    let file = File::open(format!("{DATA}/train-{kind}-ubyte.gz")).expect("`make setup` fetches the data");
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    for (half, count) in [("train", count), ("t10k", 1)] {
        let mut file = bytes[..header].to_vec();
        file[4..8].copy_from_slice(&(count as u32).to_be_bytes());
        file.extend(bytes[header..].iter().cycle().take(count * size));
        std::fs::write(folder.join(format!("{half}-{kind}-ubyte")), file).unwrap();
    }
}
