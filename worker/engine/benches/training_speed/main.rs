//! Training steps per second on one made-up batch, beside PyTorch: `compare.py` in this folder drives both.
//!
//! Reads one request a line, `MODEL PRECISION BATCH CHANNELS SIDE PACK STEPS`, and answers each with the seconds of wall
//! and CPU time that the steps took.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use engine::nn::{InputShape, Mode, Network};
use engine::optimizer::{LearningRates, Optimizer};
use ensemble::job::{Model, Precision};
use tch::{Device, Kind, Tensor};

struct Bench {
    network: Network,
    optimizer: Optimizer,
    images: Tensor,
    targets: Tensor,
    step: u64,
}

impl Bench {
    fn new(request: &[&str]) -> Self {
        let [architecture, precision, batch, channels, side, pack, ..] = *request else { panic!("bad request") };
        let [batch, channels, side, pack] = [batch, channels, side, pack].map(|number| number.parse::<i64>().unwrap());
        let model: Model = serde_json::from_value(serde_json::json!({ "architecture": architecture })).unwrap();
        let precision: Precision = serde_json::from_value(precision.into()).unwrap();
        let input = InputShape { channels, height: side, width: side };
        let seeds: Vec<u64> = (0..pack as u64).collect();
        let network = Network::new(&model, input, 10, 0.0, &seeds, Device::Cpu, precision).unwrap();
        let optimizer = Optimizer::new(&Default::default(), true, network.arena()).unwrap();
        let images = Tensor::randn([pack, batch, channels, side, side], (Kind::Float, Device::Cpu));
        let targets = Tensor::randint(10, [pack, batch], (Kind::Int64, Device::Cpu));
        Self { network, optimizer, images, targets, step: 0 }
    }

    fn step(&mut self) {
        let logits = self.network.forward(&self.images, Mode::Train { step: self.step }).unwrap();
        let members = logits.size()[0];
        let loss = logits.flatten(0, 1).cross_entropy_for_logits(&self.targets.flatten(0, 1)) * members as f64;
        let gradients = self.network.gradients(&loss).unwrap();
        let rates = LearningRates::new(vec![0.01; members as usize]);
        self.optimizer.step(self.network.arena_mut(), &gradients, &rates).unwrap();
        self.step += 1;
    }
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
        let (steps, key) = (request[6].parse::<u32>().unwrap(), request[..6].join(" "));
        let bench = benches.entry(key).or_insert_with(|| Bench::new(&request));
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        (0..steps).for_each(|_| bench.step());
        println!("{} {}", wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        std::io::stdout().flush().unwrap();
    }
}
