//! Training steps per second on Fashion-MNIST, loading and augmentation included, beside PyTorch: `compare.py` in this
//! folder drives both.
//!
//! Reads one request a line, `MODEL PRECISION BATCH PACK STEPS`, and answers each with the seconds of wall and CPU time
//! that the steps took.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::rc::Rc;
use std::time::Instant;

use engine::data::{Data, DataCache, TrainingBatches};
use engine::nn::{InputShape, Mode, Network};
use engine::optimizer::{LearningRates, Optimizer};
use engine::random::RandomStreams;
use ensemble::job::{Augmentation, Model, Precision, RandomCrop};
use serde_json::json;
use tch::Device;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/fashion-mnist");

struct Bench {
    network: Network,
    optimizer: Optimizer,
    data: Rc<Data>,
    batches: TrainingBatches,
    step: u64,
}

impl Bench {
    fn new(request: &[&str]) -> Self {
        let [architecture, precision, batch, pack, _] = *request else { panic!("bad request") };
        let seeds: Vec<u64> = (0..pack.parse().unwrap()).collect();
        let model: Model = serde_json::from_value(json!({ "architecture": architecture })).unwrap();
        let precision: Precision = serde_json::from_value(precision.into()).unwrap();
        let input = InputShape { channels: 1, height: 28, width: 28 };
        let network = Network::new(&model, input, 10, 0.0, &seeds, Device::Cpu, precision).unwrap();
        let optimizer = Optimizer::new(&Default::default(), true, network.arena()).unwrap();
        let source = serde_json::from_value(json!({ "format": "idx", "path": DATA })).unwrap();
        let data = DataCache::new(Device::Cpu).load(&source).unwrap();
        let batches = batches(&data, &seeds, batch.parse().unwrap());
        Self { network, optimizer, data, batches, step: 0 }
    }

    fn step(&mut self) {
        let batch = self.batches.at(self.step, &self.data.train).unwrap();
        let logits = self.network.forward(&batch.images, Mode::Train { step: self.step }).unwrap();
        let members = logits.size()[0];
        let loss = logits.flatten(0, 1).cross_entropy_for_logits(&batch.labels.flatten(0, 1)) * members as f64;
        let gradients = self.network.gradients(&loss).unwrap();
        let rates = LearningRates::new(vec![0.01; members as usize]);
        self.optimizer.step(self.network.arena_mut(), &gradients, &rates).unwrap();
        self.step += 1;
    }
}

fn batches(data: &Data, seeds: &[u64], size: u32) -> TrainingBatches {
    let samples = data.train.everything();
    let normalization = data.normalization(&samples).unwrap();
    let recipe = [Augmentation::RandomCrop(RandomCrop { padding: 2 }), Augmentation::HorizontalFlip];
    let (samples, normalizations) = (vec![samples; seeds.len()], vec![normalization; seeds.len()]);
    TrainingBatches::new(samples, normalizations, &recipe, RandomStreams::new(seeds), size)
}

/// CPU time of all threads of this process.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and the struct is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    engine::libtorch::initialize().unwrap();
    let mut benches: HashMap<String, Bench> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let request: Vec<&str> = line.split_whitespace().collect();
        let (steps, key) = (request[4].parse::<u32>().unwrap(), request[..4].join(" "));
        let bench = benches.entry(key).or_insert_with(|| Bench::new(&request));
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        (0..steps).for_each(|_| bench.step());
        println!("{} {}", wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        std::io::stdout().flush().unwrap();
    }
}
