//! Twenty steps of each optimizer against torch.optim, and the averages against their definitions.
#![allow(clippy::unwrap_used)]

mod support;

use engine::nn::Network;
use engine::optimizer::{LearningRates, Optimizer, ema_update, swa_update};
use ensemble::average::ema_decay;
use ensemble::job::Precision;
use serde_json::{Value, json};
use support::{assert_close, distance, filled, gradients, names, network, numbers, pattern, reference};
use tch::{Kind, Tensor};

fn small_network(seeds: &[u64]) -> Network {
    network(&json!({"architecture": {"mlp": {"hidden": [12]}}}), [1, 4, 4], 7, seeds, Precision::F32)
}

fn start(members: usize) -> Network {
    let mut network = small_network(&vec![1; members]);
    let weights = filled(&names(&network));
    (0..members).for_each(|member| network.arena_mut().load_state_of(member, &weights).unwrap());
    network
}

fn batch(step: u64, members: i64) -> (Tensor, Tensor) {
    let images = pattern(2000 + step, &[1, 8, 1, 4, 4]).expand([members, -1, -1, -1, -1], false).contiguous();
    let targets = Tensor::arange(8, (Kind::Int64, tch::Device::Cpu)).remainder(7).expand([members, -1], false);
    (images, targets)
}

fn optimizer(entry: &Value, network: &Network) -> Optimizer {
    let options = serde_json::from_value(entry["options"].clone()).unwrap();
    Optimizer::new(&options, entry["decay_biases_and_norms"].as_bool().unwrap(), network.arena()).unwrap()
}

fn steps(network: &mut Network, optimizer: &mut Optimizer, rates: &LearningRates, steps: std::ops::Range<u64>) {
    for step in steps {
        let (images, targets) = batch(step, network.width());
        let gradients = gradients(network, &images, &targets, step);
        optimizer.step(network.arena_mut(), &gradients, rates).unwrap();
    }
}

fn assert_member_is(network: &Network, member: usize, entry: &Value) {
    for (name, tensor) in network.arena().state_of(member).unwrap() {
        let found: Vec<f64> = Vec::try_from(tensor.to_kind(Kind::Double).reshape(-1)).unwrap();
        let what = format!("{} {name}", entry["name"]);
        assert_close(&what, &found, &numbers(&entry["parameters"][&name]), 2e-6);
    }
}

#[test]
fn twenty_steps_agree_with_torch_optim() {
    for entry in reference("optimizers.json").as_array().unwrap() {
        let mut network = start(1);
        let mut optimizer = optimizer(entry, &network);
        let rates = LearningRates::new(vec![entry["rate"].as_f64().unwrap()]);
        steps(&mut network, &mut optimizer, &rates, 0..20);
        assert_member_is(&network, 0, entry);
    }
}

/// Unequal learning rates take another path through the arena.
#[test]
fn a_member_among_other_learning_rates_agrees_as_well() {
    for entry in reference("optimizers.json").as_array().unwrap() {
        let mut network = start(3);
        let mut optimizer = optimizer(entry, &network);
        let rate = entry["rate"].as_f64().unwrap();
        let rates = LearningRates::new(vec![0.5 * rate, rate, 0.0]);
        steps(&mut network, &mut optimizer, &rates, 0..20);
        assert_member_is(&network, 1, entry);
    }
}

#[test]
fn state_moves_between_packs_and_training_goes_on_bit_for_bit() {
    for entry in reference("optimizers.json").as_array().unwrap() {
        let rates = LearningRates::new(vec![entry["rate"].as_f64().unwrap()]);
        let mut whole = start(1);
        let mut whole_optimizer = optimizer(entry, &whole);
        steps(&mut whole, &mut whole_optimizer, &rates, 0..7);
        let mut resumed = small_network(&[99]);
        let mut resumed_optimizer = optimizer(entry, &resumed);
        resumed.arena_mut().load_state_of(0, &whole.arena().state_of(0).unwrap()).unwrap();
        let state = whole_optimizer.state_on_host().unwrap().of(whole.arena(), 0).unwrap();
        resumed_optimizer.load_state_of(resumed.arena(), 0, &state, whole_optimizer.steps()).unwrap();
        steps(&mut whole, &mut whole_optimizer, &rates, 7..15);
        steps(&mut resumed, &mut resumed_optimizer, &rates, 7..15);
        assert_eq!(whole.arena().parameters(), resumed.arena().parameters(), "{}", entry["name"]);
    }
}

#[test]
fn a_wrong_number_of_learning_rates_is_refused() {
    let mut network = start(2);
    let mut optimizer = Optimizer::new(&Default::default(), true, network.arena()).unwrap();
    let gradients = network.arena().parameters().zeros_like();
    let error = optimizer.step(network.arena_mut(), &gradients, &LearningRates::new(vec![0.1])).unwrap_err();
    assert_eq!(error.to_string(), "number of learning rates is 1, but must be one for each member of the pack");
}

#[test]
fn swa_is_the_arithmetic_mean_and_ema_warms_up() {
    let states: Vec<_> = (0..5).map(|seed| small_network(&[seed]).arena().state().duplicate().unwrap()).collect();
    let mut mean = states[0].duplicate().unwrap();
    for (count, state) in states.iter().enumerate().skip(1) {
        swa_update(&mut mean, state, count as u64).unwrap();
    }
    let parameters: Vec<_> = states.iter().map(|state| &state.parameters).collect();
    assert!(distance(&mean.parameters, &Tensor::stack(&parameters, 0).mean_dim(0, false, Kind::Double)) < 1e-7);

    let mut ema = states[0].duplicate().unwrap();
    let mut expected = states[0].parameters.to_kind(Kind::Double);
    for (update, state) in states.iter().enumerate() {
        ema_update(&mut ema, state, ema_decay(0.2, true, update as u64)).unwrap();
        let decay = f64::min(0.2, (1.0 + update as f64) / (10.0 + update as f64));
        expected = expected * decay + state.parameters.to_kind(Kind::Double) * (1.0 - decay);
    }
    assert!(distance(&ema.parameters, &expected) < 1e-7);
}
