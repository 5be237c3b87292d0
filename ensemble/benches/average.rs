//! Averaging of stored models: `cargo bench -p ensemble --bench average`.
//!
//! Makes five models of 201 MB, 144 tensors each, in a temporary folder, and averages them n = 10 times each way,
//! interleaved, with the page cache warm:
//!
//! - *plain stream*: what one writes by hand, one thread, whole tensors as `f32`, summed up and scaled in `f32`;
//! - *one thread* and *two threads*: [`Plan`] with positioned reads and writes, summed up in `f64`.
//!
//! Prints seconds (median, least, most), GB/s of input, the ratio to the plain stream, processor seconds (which other
//! programs on the machine disturb less), and the peak of resident memory while averaging. Both ways of `Plan` must give the same bytes, and the plain stream's to within its rounding.
#![allow(clippy::unwrap_used, missing_docs)]

use ensemble::average::{Dtype, Plan, read_header};
use ensemble::weights::Weights;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

const MODELS: usize = 5;

/// How much work: full under `cargo bench`, a token one where a test run merely starts the program.
struct Size {
    layers: usize,
    rounds: usize,
}

impl Size {
    fn from_args() -> Self {
        let bench = std::env::args().any(|argument| argument == "--bench");
        if bench { Self { layers: 48, rounds: 10 } } else { Self { layers: 1, rounds: 1 } }
    }
}

type Method = fn(&[PathBuf], &Path);

const METHODS: [(&str, Method); 3] = [
    ("plain stream", plain_stream),
    ("one thread", |inputs, out| planned(inputs, out, 1)),
    ("two threads", |inputs, out| planned(inputs, out, 2)),
];

fn main() {
    let size = Size::from_args();
    let folder = std::env::temp_dir().join(format!("average-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let inputs: Vec<_> = (0..MODELS).map(|model| folder.join(format!("{model}.safetensors"))).collect();
    (0..).zip(&inputs).for_each(|(seed, path)| write_model(path, seed, size.layers));
    let input_bytes: u64 = inputs.iter().map(|path| fs::metadata(path).unwrap().len()).sum();

    let mut seconds = METHODS.map(|_| Vec::new());
    let mut busy = METHODS.map(|_| 0.0);
    let mut peaks = METHODS.map(|_| 0);
    for round in 1..=size.rounds {
        for (at, (name, method)) in METHODS.iter().enumerate() {
            reset_peak();
            let busy_before = processor_seconds();
            let start = Instant::now();
            method(&inputs, &folder.join(name));
            seconds[at].push(start.elapsed().as_secs_f64());
            busy[at] += processor_seconds() - busy_before;
            peaks[at] = peaks[at].max(peak_bytes());
            if round < size.rounds {
                // Dropped before the kernel writes it back to disk, which would cost the next one time.
                fs::remove_file(folder.join(name)).unwrap();
            }
        }
    }
    check(&folder);
    fs::remove_dir_all(&folder).unwrap();

    let megabytes = input_bytes as f64 / 1e6 / MODELS as f64;
    println!("{MODELS} models of {megabytes:.0} MB, n = {}", size.rounds);
    let plain = median(&mut seconds[0]);
    for (at, (name, _)) in METHODS.iter().enumerate() {
        let middle = median(&mut seconds[at]);
        println!(
            "{name:<13} {middle:.3} s [{:.3} .. {:.3}]  {:.2} GB/s  {:.2} x plain  processor {:.3} s  peak {:.1} MB",
            seconds[at][0],
            seconds[at][size.rounds - 1],
            input_bytes as f64 / 1e9 / middle,
            middle / plain,
            busy[at] / size.rounds as f64,
            peaks[at] as f64 / 1e6,
        );
    }
}

fn planned(inputs: &[PathBuf], out: &Path, threads: usize) {
    let mut files: Vec<_> = inputs.iter().map(|path| File::open(path).unwrap()).collect();
    let headers: Vec<_> = (0..).zip(&mut files).map(|(model, file)| read_header(model, file).unwrap()).collect();
    let plan = Plan::new(&headers).unwrap();
    let weights = Weights::uniform(MODELS).unwrap();
    let out = File::create(out).unwrap();
    out.write_all_at(plan.header_bytes(), 0).unwrap();
    std::thread::scope(|scope| {
        for part in plan.split(threads) {
            let (files, out, weights) = (&files, &out, &weights);
            scope.spawn(move || {
                let read = |model: usize, at: u64, buffer: &mut [u8]| files[model].read_exact_at(buffer, at);
                part.run(weights, read, |at, bytes| out.write_all_at(bytes, at)).unwrap();
            });
        }
    });
}

fn plain_stream(inputs: &[PathBuf], out: &Path) {
    let mut files: Vec<_> = inputs.iter().map(|path| File::open(path).unwrap()).collect();
    let header = read_header(0, &mut files[0]).unwrap();
    let mut out = File::create(out).unwrap();
    let mut start = vec![0; header.tensors()[0].offset as usize];
    files[0].read_exact_at(&mut start, 0).unwrap();
    out.write_all(&start).unwrap();
    for tensor in header.tensors() {
        let mut bytes = vec![0; tensor.bytes as usize];
        files[0].read_exact_at(&mut bytes, tensor.offset).unwrap();
        if tensor.dtype == Dtype::F32 {
            let mut sums = floats(&bytes);
            for file in &files[1..] {
                file.read_exact_at(&mut bytes, tensor.offset).unwrap();
                sums.iter_mut().zip(floats(&bytes)).for_each(|(sum, value)| *sum += value);
            }
            let scale = 1.0 / MODELS as f32;
            bytes.as_chunks_mut().0.iter_mut().zip(&sums).for_each(|(raw, sum)| *raw = (sum * scale).to_le_bytes());
        }
        out.write_all(&bytes).unwrap();
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
}

/// Layers of 4 MiB, with a bias of 4 KiB and a counter each, like what a state dictionary holds.
fn write_model(path: &Path, seed: u64, layers: usize) {
    let mut entries = Vec::new();
    let mut end = 0;
    for layer in 0..layers {
        for (name, dtype, elements, width) in
            [("weight", "F32", 1 << 20, 4), ("bias", "F32", 1 << 10, 4), ("count", "I64", 1, 8)]
        {
            let begin = end;
            end += elements * width;
            let info = format!(r#"{{"dtype":"{dtype}","shape":[{elements}],"data_offsets":[{begin},{end}]}}"#);
            entries.push(format!(r#""layer{layer}.{name}":{info}"#));
        }
    }
    let json = format!("{{{}}}", entries.join(","));
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
    file.write_all(json.as_bytes()).unwrap();
    let mut state = seed;
    for _ in 0..end / 4 {
        // A linear congruential generator is random enough for a benchmark; counters get finite nonsense.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        file.write_all(&value.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

fn check(folder: &Path) {
    let [plain, one, two] = METHODS.map(|(name, _)| fs::read(folder.join(name)).unwrap());
    assert!(one == two, "the number of threads changes the average");
    let tail = |file: &[u8]| floats(&file[file.len() - (1 << 22)..]);
    let close = |(a, b): (f32, f32)| (a - b).abs() <= 1e-6;
    assert!(tail(&plain).into_iter().zip(tail(&one)).all(close), "the average is not the plain stream's");
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// User and system time of this process so far, in ticks of 10 ms (Linux: see proc(5)).
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Forgets the peak so far (Linux: see `clear_refs` in proc(5)).
fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
