//! What the tests against PyTorch's figures share; `reference/generate.py` is the other side.
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use engine::nn::{InputShape, Mode, Network};
use ensemble::job::{Model, Precision};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

pub fn reference(name: &str) -> Value {
    let path = format!("{}/tests/reference/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Numbers in [-1, 1) that the reference script computes alike.
pub fn pattern(index: u64, shape: &[i64]) -> Tensor {
    let hash = |position: u64| {
        let word = (position * 2_654_435_761 + index * 2_246_822_519 + 374_761_393) as u32;
        let word = (word ^ (word >> 15)).wrapping_mul(2_246_822_519);
        f64::from(word ^ (word >> 13))
    };
    let values: Vec<f32> = (0..shape.iter().product::<i64>() as u64)
        .map(|position| (hash(position) / 2f64.powi(31) - 1.0) as f32)
        .collect();
    Tensor::from_slice(&values).view(shape)
}

/// Weights as the script's `fill`, in its order of names.
pub fn filled(names: &[(String, Vec<i64>)]) -> Vec<(String, Tensor)> {
    let fill = |(index, (name, shape)): (usize, &(String, Vec<i64>))| {
        if name.ends_with("num_batches_tracked") {
            return (name.clone(), Tensor::zeros([0i64; 0], (Kind::Int64, Device::Cpu)));
        }
        let values = pattern(index as u64, shape).to_kind(Kind::Double);
        let fan_in: i64 = shape.iter().skip(1).product();
        let values = if shape.len() > 1 {
            values * f64::from((6.0 / fan_in as f64).sqrt() as f32)
        } else if name.ends_with("running_var") {
            values * 0.5 + 1.0
        } else if name.ends_with("weight") {
            values * 0.1 + 0.2
        } else if is_norm_shift(name) {
            alternating(shape[0])
        } else {
            values * 0.1
        };
        (name.clone(), values.to_kind(Kind::Float))
    };
    names.iter().enumerate().map(fill).collect()
}

pub fn is_norm_shift(name: &str) -> bool {
    name.ends_with("bias") && !name.starts_with("fc") && !name.starts_with("hidden")
}

/// 1, -1, 1, ..: the shifts that put rectifiers well on one side, where rounding cannot tip them.
pub fn alternating(channels: i64) -> Tensor {
    Tensor::arange(channels, (Kind::Double, Device::Cpu)).remainder(2) * -2.0 + 1.0
}

/// The names and shapes of one member.
pub fn names(network: &Network) -> Vec<(String, Vec<i64>)> {
    network.arena().state_of(0).unwrap().into_iter().map(|(name, tensor)| (name, tensor.size())).collect()
}

pub fn network(model: &Value, input: [i64; 3], classes: i64, seeds: &[u64], precision: Precision) -> Network {
    let model: Model = serde_json::from_value(model.clone()).unwrap();
    let [channels, height, width] = input;
    let input = InputShape { channels, height, width };
    Network::new(&model, input, classes, 0.0, seeds, Device::Cpu, precision).unwrap()
}

/// The sum of the members' mean cross-entropies; `targets` is `[M, B]`.
pub fn loss(logits: &Tensor, targets: &Tensor) -> Tensor {
    let members = logits.size()[0];
    logits.flatten(0, 1).cross_entropy_for_logits(&targets.flatten(0, 1)) * members as f64
}

/// One training step's flat gradients.
pub fn gradients(network: &mut Network, x: &Tensor, targets: &Tensor, step: u64) -> Tensor {
    let logits = network.forward(x, Mode::Train { step }).unwrap();
    network.gradients(&loss(&logits, targets)).unwrap()
}

/// The largest difference between two tensors.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Each value within `tolerance` of the expected one, relative to the largest of them and to 1.
#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / scale;
        assert!(error <= tolerance, "{what}[{position}]: {found}, but PyTorch has {expected}");
    }
}
