//! What packing promises: a member learns in a pack what it would have learned alone.
#![allow(clippy::unwrap_used)]

mod support;

use engine::nn::{InputShape, Mode, Network, NetworkError};
use engine::optimizer::{LearningRates, Optimizer};
use engine::random::{Purpose, Stream};
use ensemble::job::{Model, Precision};
use serde_json::{Value, json};
use support::{distance, pattern};
use tch::{Device, Kind, Tensor};

const SEEDS: [u64; 3] = [11, 5, 1 << 40];
const RATES: [f64; 3] = [0.05, 0.02, 0.1];
const SAMPLES: i64 = 24;
const BATCH: i64 = 8;

/// Puts every rectifier behind a norm well on one side: among a million of them rounding tips some over, and one that
/// differs between a pack and a member alone changes gradients out of proportion.
fn steady(mut network: Network) -> Network {
    for member in 0..network.width() as usize {
        let mut state = network.arena().state_of(member).unwrap();
        for (name, tensor) in &mut state {
            if support::is_norm_shift(name) {
                *tensor = support::alternating(tensor.size()[0]).to_kind(Kind::Float);
            } else if name.ends_with("weight") && tensor.dim() == 1 {
                let _ = tensor.fill_(0.2);
            }
        }
        network.arena_mut().load_state_of(member, &state).unwrap();
    }
    network
}

fn make(model: &Value, seeds: &[u64], side: i64) -> Network {
    let model: Model = serde_json::from_value(model.clone()).unwrap();
    let input = InputShape { channels: 2, height: side, width: side };
    Network::new(&model, input, 5, 0.3, seeds, Device::Cpu, Precision::F32).unwrap()
}

/// Each member's own batch of one small data set: its epoch's order comes from its seed.
fn batch(seeds: &[u64], step: u64, side: i64) -> (Tensor, Tensor) {
    let data = pattern(7, &[SAMPLES, 2, side, side]);
    let steps_per_epoch = (SAMPLES / BATCH) as u64;
    let indices = seeds.iter().map(|&seed| {
        let order = Stream::new(seed, Purpose::DataOrder, step / steps_per_epoch).permutation(SAMPLES as usize);
        Tensor::from_slice(&order).narrow(0, (step % steps_per_epoch) as i64 * BATCH, BATCH)
    });
    let indices: Vec<Tensor> = indices.collect();
    let images: Vec<Tensor> = indices.iter().map(|index| data.index_select(0, index)).collect();
    let targets: Vec<Tensor> = indices.iter().map(|index| index.remainder(5)).collect();
    (Tensor::stack(&images, 0), Tensor::stack(&targets, 0))
}

fn train(mut network: Network, seeds: &[u64], rates: &[f64], steps: u64, side: i64) -> Network {
    let mut optimizer = Optimizer::new(&Default::default(), false, network.arena()).unwrap();
    for step in 0..steps {
        let (images, targets) = batch(seeds, step, side);
        let gradients = support::gradients(&mut network, &images, &targets, step);
        optimizer.step(network.arena_mut(), &gradients, &LearningRates::new(rates.to_vec())).unwrap();
    }
    network
}

fn assert_pack_equals_members_alone(start: impl Fn(&[u64]) -> Network, rates: [f64; 3], steps: u64, side: i64) {
    let pack = train(start(&SEEDS), &SEEDS, &rates, steps, side);
    for (member, (seed, rate)) in SEEDS.into_iter().zip(rates).enumerate() {
        let alone = train(start(&[seed]), &[seed], &[rate], steps, side);
        let moved = distance(alone.arena().parameters(), start(&[seed]).arena().parameters());
        assert!(moved > 1e-3, "member {member} has moved by {moved} only");
        let (pack, alone) = (pack.arena().state_of(member).unwrap(), alone.arena().state_of(0).unwrap());
        for ((name, packed), (_, single)) in pack.into_iter().zip(alone) {
            let error = distance(&packed, &single);
            assert!(error < 1e-5, "member {member}, {name}: {error} after {steps} steps");
        }
    }
}

#[test]
fn an_mlp_learns_in_a_pack_what_it_learns_alone() {
    let model = json!({"architecture": {"mlp": {"hidden": [32, 16]}}});
    assert_pack_equals_members_alone(|seeds| make(&model, seeds, 6), RATES, 30, 6);
}

#[test]
fn a_cnn_learns_in_a_pack_what_it_learns_alone() {
    let model = json!({"architecture": "cnn"});
    assert_pack_equals_members_alone(|seeds| make(&model, seeds, 8), RATES, 12, 8);
}

#[test]
fn a_resnet_learns_in_a_pack_what_it_learns_alone() {
    let model = json!({"architecture": "resnet18"});
    assert_pack_equals_members_alone(|seeds| steady(make(&model, seeds, 16)), RATES.map(|rate| rate / 10.0), 4, 16);
}

#[test]
fn a_wide_resnet_drops_in_a_pack_what_it_drops_alone() {
    let model = json!({"architecture": {"wide_resnet": {"depth": 10, "widen_factor": 1}}});
    assert_pack_equals_members_alone(|seeds| make(&model, seeds, 8), RATES, 6, 8);
}

#[test]
fn initial_weights_do_not_depend_on_the_pack() {
    let model = json!({"architecture": "cnn"});
    let pack = make(&model, &SEEDS, 8);
    for (member, &seed) in SEEDS.iter().enumerate() {
        let alone = make(&model, &[seed], 8);
        assert_eq!(pack.arena().state_of(member).unwrap(), alone.arena().state_of(0).unwrap());
    }
}

#[test]
fn initial_weights_have_pytorchs_spread() {
    let model = json!({"architecture": "resnet18"});
    for (name, tensor) in make(&model, &[1], 8).arena().state_of(0).unwrap() {
        let expected = match tensor.size()[..] {
            [outputs, _, kernel, _] => (2.0 / (outputs * kernel * kernel) as f64).sqrt(),
            [_, inputs] => 1.0 / (3.0 * inputs as f64).sqrt(),
            _ => continue,
        };
        let spread = tensor.to_kind(Kind::Double).std(true).double_value(&[]);
        assert!((spread / expected - 1.0).abs() < 0.05, "{name}: {spread}, but {expected} is expected");
    }
}

#[test]
fn dropout_differs_by_step_and_keeps_the_mean() {
    let mut network = make(&json!({"architecture": {"mlp": {"hidden": [64]}}}), &[1], 6);
    let images = pattern(1, &[1, BATCH, 2, 6, 6]);
    let mut logits = |mode| network.forward(&images, mode).unwrap();
    let first = logits(Mode::Train { step: 0 });
    assert_eq!(first, logits(Mode::Train { step: 0 }));
    assert!(distance(&first, &logits(Mode::Train { step: 1 })) > 1e-3);
    let steps: Vec<Tensor> = (0..2000).map(|step| logits(Mode::Train { step })).collect();
    let mean = Tensor::stack(&steps, 0).mean_dim(0, false, Kind::Float);
    assert!(distance(&mean, &logits(Mode::Evaluate)) < 0.03);
}

#[test]
fn weights_of_another_architecture_are_refused_and_change_nothing() {
    let mut network = make(&json!({"architecture": "cnn"}), &[1], 8);
    let before = network.arena().state().duplicate().unwrap();
    let good = make(&json!({"architecture": "cnn"}), &[2], 8).arena().state_of(0).unwrap();
    let mut refuse = |change: &dyn Fn(&str, Tensor) -> Option<Tensor>| {
        let changed = good.iter().filter_map(|(name, t)| Some((name.clone(), change(name, t.shallow_clone())?)));
        let changed: Vec<_> = changed.collect();
        network.arena_mut().load_state_of(0, &changed).unwrap_err()
    };
    let missing = refuse(&|name, t| (name != "fc.bias").then_some(t));
    assert!(matches!(missing, NetworkError::MissingTensor { name } if name == "fc.bias"));
    let shape = refuse(&|name, t| Some(if name == "fc.bias" { t.narrow(0, 0, 4) } else { t }));
    assert_eq!(shape.to_string(), "tensor fc.bias has shape [4], but the architecture needs [5]");
    let kind = refuse(&|name, t| Some(if name == "fc.bias" { t.to_kind(Kind::Double) } else { t }));
    assert!(matches!(kind, NetworkError::WrongKind { found: Kind::Double, .. }));
    assert_eq!(network.arena().parameters(), &before.parameters);
}

#[test]
fn impossible_networks_are_refused() {
    let refuse = |model: Value, channels, classes, dropout, seeds: &[u64]| {
        let model: Model = serde_json::from_value(model).unwrap();
        let input = InputShape { channels, height: 8, width: 8 };
        Network::new(&model, input, classes, dropout, seeds, Device::Cpu, Precision::F32).unwrap_err().to_string()
    };
    let cnn = || json!({"architecture": "cnn"});
    assert_eq!(refuse(cnn(), 0, 5, 0.0, &[1]), "input channels is 0, but must be 1 to 4096");
    assert_eq!(refuse(cnn(), 1, 1, 0.0, &[1]), "classes is 1, but must be 2 to 1048576");
    assert_eq!(refuse(cnn(), 1, 5, 1.0, &[1]), "dropout is 1, but must be at least 0 and below 1");
    assert_eq!(refuse(cnn(), 1, 5, 0.0, &[]), "pack width is 0, but must be 1 to 1024");
    let wide = json!({"architecture": {"wide_resnet": {"depth": 17, "widen_factor": 2}}});
    assert_eq!(refuse(wide, 1, 5, 0.0, &[1]), "depth is 17, but must be 6n + 4, such as 16, 28 or 40, up to 1000");
    let huge = json!({"architecture": {"mlp": {"hidden": [65536, 65536, 65536]}}});
    assert!(refuse(huge, 1, 5, 0.0, &[1]).starts_with("the pack would have 8594"));
}

#[test]
fn images_of_another_shape_are_refused() {
    let mut network = make(&json!({"architecture": "cnn"}), &[1, 2], 8);
    let error = network.forward(&pattern(1, &[1, 4, 2, 8, 8]), Mode::Evaluate).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor input has shape [1, 4, 2, 8, 8], but the architecture needs [2, -1, 2, 8, 8]"
    );
}
