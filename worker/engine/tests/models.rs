//! Every architecture against PyTorch: names, shapes, logits in both modes, gradients, running statistics.
#![allow(clippy::unwrap_used)]

mod support;

use engine::nn::{Mode, Network};
use ensemble::job::Precision;
use serde_json::Value;
use support::{assert_close, filled, gradients, integers, names, network, numbers, pattern, reference};
use tch::{Kind, Tensor};

struct Case {
    name: String,
    entry: Value,
    network: Network,
    images: Tensor,
    targets: Tensor,
}

fn cases(precision: Precision) -> Vec<Case> {
    reference("models.json").as_array().unwrap().iter().map(|entry| case(entry.clone(), precision)).collect()
}

fn case(entry: Value, precision: Precision) -> Case {
    let shape = integers(&entry["shape"]);
    let input = [shape[1], shape[2], shape[3]];
    let mut network = network(&entry["model"], input, entry["classes"].as_i64().unwrap(), &[1], precision);
    network.arena_mut().load_state_of(0, &filled(&reference_names(&entry))).unwrap();
    let images = pattern(1000, &shape).unsqueeze(0);
    let targets = Tensor::arange(shape[0], (Kind::Int64, tch::Device::Cpu)).remainder(7).unsqueeze(0);
    Case { name: entry["name"].as_str().unwrap().to_owned(), entry, network, images, targets }
}

fn reference_names(entry: &Value) -> Vec<(String, Vec<i64>)> {
    let pair = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), integers(&pair[1]));
    entry["names"].as_array().unwrap().iter().map(pair).collect()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

/// What the script records of a tensor too large to store: its norm, and its product with a pattern.
fn digest(tensor: &Tensor) -> [f64; 2] {
    let tensor = tensor.to_kind(Kind::Double);
    let product = (&tensor * pattern(3, &tensor.size())).sum(Kind::Double);
    [tensor.norm().double_value(&[]), product.double_value(&[])]
}

#[test]
fn names_and_shapes_are_torchvisions() {
    for case in cases(Precision::F32) {
        let (mut ours, mut theirs) = (names(&case.network), reference_names(&case.entry));
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{}", case.name);
    }
}

#[test]
fn logits_with_running_statistics_agree() {
    for mut case in cases(Precision::F32) {
        let logits = case.network.forward(&case.images, Mode::Evaluate).unwrap();
        assert_close(&case.name, &values(&logits), &numbers(&case.entry["evaluated"]), 1e-5);
    }
}

#[test]
fn a_training_step_agrees_in_logits_gradients_and_statistics() {
    for mut case in cases(Precision::F32) {
        let logits = case.network.forward(&case.images, Mode::Train { step: 0 }).unwrap();
        let tolerance = 1e-5 + 4.0 * case.entry["rounding"]["trained"].as_f64().unwrap();
        assert_close(&case.name, &values(&logits), &numbers(&case.entry["trained"]), tolerance);
        let flat = case.network.gradients(&support::loss(&logits, &case.targets)).unwrap();
        for (name, gradient) in case.network.arena().split_of(&flat, 0).unwrap() {
            check_digest(&case, "gradients", &name, &gradient, 1e-3);
        }
        for (name, tensor) in case.network.arena().state_of(0).unwrap() {
            if case.entry["statistics"].get(&name).is_some() {
                check_digest(&case, "statistics", &name, &tensor, 1e-5);
            }
        }
    }
}

fn check_digest(case: &Case, table: &str, name: &str, tensor: &Tensor, tolerance: f64) {
    let expected = numbers(&case.entry[table][name]);
    // A tensor whose exact gradient is all but zero holds rounding alone: it is measured against the others.
    let norms = case.entry[table].as_object().unwrap().values().map(|digest| digest[0].as_f64().unwrap());
    let scale = expected[0].max(1e-2 * norms.fold(0.0, f64::max));
    for (found, expected) in digest(tensor).into_iter().zip(&expected) {
        let error = (found - expected).abs() / scale;
        assert!(error < tolerance, "{} {table} {name}: {found}, but PyTorch has {expected}", case.name);
    }
}

/// bf16 has 8 bits of precision: the gradient must keep its direction as well as it does under PyTorch's autocast.
#[test]
fn bf16_gradients_point_the_same_way() {
    for (mut full, mut half) in cases(Precision::F32).into_iter().zip(cases(Precision::Bf16)) {
        let exact = gradients(&mut full.network, &full.images, &full.targets, 0);
        let rough = gradients(&mut half.network, &half.images, &half.targets, 0);
        assert_eq!(rough.kind(), Kind::Float);
        let cosine = exact.dot(&rough).double_value(&[]) / (exact.norm() * rough.norm()).double_value(&[]);
        let theirs = full.entry["rounding"]["bf16_cosine"].as_f64().unwrap();
        assert!(1.0 - cosine < 1.5 * (1.0 - theirs), "{}: cosine {cosine}, but autocast has {theirs}", full.name);
    }
}

#[test]
fn calibration_is_update_bn() {
    let model = serde_json::json!({"architecture": "cnn"});
    let mut network = network(&model, [1, 4, 4], 7, &[1], Precision::F32);
    let entry = reference("models.json").as_array().unwrap().iter().find(|e| e["name"] == "cnn").unwrap().clone();
    network.arena_mut().load_state_of(0, &filled(&reference_names(&entry))).unwrap();
    network.begin_calibration().unwrap();
    for batch in 0..3 {
        let _ = network.forward(&pattern(3000 + batch, &[1, 8, 1, 4, 4]), Mode::Calibrate).unwrap();
    }
    let expected = reference("calibration.json");
    for (name, tensor) in network.arena().state_of(0).unwrap() {
        if let Some(expected) = expected.get(&name) {
            assert_close(&name, &values(&tensor.reshape(-1)), &numbers(expected), 1e-5);
        }
    }
}
