//! Optimizers on the flat arena, with PyTorch's formulas and their state in our own hands.

use ensemble::job;
use tch::{Device, TchError, Tensor};

use crate::nn::NetworkError;
use crate::nn::arena::{Arena, State, on_host};
use crate::nn::layout::{Role, Slot};
use crate::shim;

/// The learning rate of each member of a pack.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningRates(Vec<f64>);

impl LearningRates {
    /// One learning rate for each member, in order.
    pub fn new(of_members: Vec<f64>) -> Self {
        Self(of_members)
    }

    /// The learning rate that all members share, if they do.
    fn shared(&self) -> Option<f64> {
        let first = *self.0.first()?;
        self.0.iter().all(|&rate| rate == first).then_some(first)
    }
}

/// The rule that turns gradients into steps.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Sgd { momentum: f64, nesterov: bool },
    Adam { betas: [f64; 2], epsilon: f64 },
}

/// How weight decay acts.
#[derive(Debug)]
struct Decay {
    rate: f64,
    /// Taken off the weights directly (AdamW) and not added to the gradient.
    is_decoupled: bool,
    /// 1 where it applies and 0 elsewhere; none where it applies everywhere.
    mask: Option<Tensor>,
}

/// An optimizer of one pack: hyper-parameters are equal for all members, learning rates are not.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    decay: Decay,
    /// Flat tensors that lie as the parameters do, by PyTorch's names.
    moments: Vec<(&'static str, Tensor)>,
    steps: u64,
    /// The member of each element, to spread unequal learning rates over the arena; made when first needed.
    members: Option<Tensor>,
}

impl Optimizer {
    /// An optimizer that has not made a step.
    pub fn new(options: &job::Optimizer, decay_biases_and_norms: bool, arena: &Arena) -> Result<Self, TchError> {
        let (rule, rate, is_decoupled) = match options {
            job::Optimizer::Sgd(o) => (Rule::Sgd { momentum: o.momentum, nesterov: o.nesterov }, o.weight_decay, false),
            job::Optimizer::Adam(o) => (Rule::Adam { betas: o.betas, epsilon: o.epsilon }, o.weight_decay, false),
            job::Optimizer::Adamw(o) => (Rule::Adam { betas: o.betas, epsilon: o.epsilon }, o.weight_decay, true),
        };
        let mask = (rate != 0.0 && !decay_biases_and_norms).then(|| arena.decay_mask()).transpose()?;
        let zeros = |name| Ok((name, arena.parameters().f_zeros_like()?));
        let moments: Result<_, TchError> = rule.moments().iter().copied().map(zeros).collect();
        Ok(Self { rule, decay: Decay { rate, is_decoupled, mask }, moments: moments?, steps: 0, members: None })
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves the parameters one step along `gradients`, which lie as they do.
    pub fn step(&mut self, arena: &mut Arena, gradients: &Tensor, rates: &LearningRates) -> Result<(), NetworkError> {
        check_width(rates, arena)?;
        self.steps += 1;
        if gradients.device() == Device::Cpu {
            return Ok(self.step_in_one_pass(arena, gradients, rates)?);
        }
        Ok(tch::no_grad(|| self.step_in_passes(arena, gradients, rates))?)
    }

    /// On the CPU a step is bound by memory, and the shim goes over it once.
    fn step_in_one_pass(&self, arena: &mut Arena, gradients: &Tensor, rates: &LearningRates) -> Result<(), TchError> {
        let moments: Vec<&Tensor> = self.moments.iter().map(|(_, flat)| flat).collect();
        let stretches = self.stretches(arena, rates);
        Ok(shim::step(&self.shim_step(), &stretches, arena.parameters_mut(), gradients, &moments)?)
    }

    /// Parts of the arena with one learning rate and one weight decay: all of it, or each member's part of each tensor.
    fn stretches(&self, arena: &Arena, rates: &LearningRates) -> Vec<shim::Stretch> {
        if let (Some(rate), None) = (rates.shared(), &self.decay.mask) {
            let length = arena.parameters().numel() as i64;
            return vec![shim::Stretch { offset: 0, length, rate, decay: self.decay.rate }];
        }
        let of_slot = |slot: &Slot| {
            let (start, length) = (slot.offset, slot.length());
            let decay = if self.decay.spares(slot.role) { 0.0 } else { self.decay.rate };
            let stretch = move |(member, &rate)| shim::Stretch { offset: start + member * length, length, rate, decay };
            (0..).zip(&rates.0).map(stretch).collect::<Vec<_>>()
        };
        arena.layout().parameters().iter().flat_map(of_slot).collect()
    }

    fn shim_step(&self) -> shim::Step {
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let is_decoupled = self.decay.is_decoupled;
        match self.rule {
            Rule::Sgd { momentum, nesterov } => shim::Step { nesterov, beta1: momentum, ..shim::Step::default() },
            Rule::Adam { betas: [beta1, beta2], epsilon } => shim::Step {
                is_adam: true,
                nesterov: false,
                is_decoupled,
                beta1,
                beta2,
                epsilon,
                correction1: correction(beta1),
                correction2: correction(beta2),
            },
        }
    }

    fn step_in_passes(&mut self, arena: &mut Arena, gradients: &Tensor, rates: &LearningRates) -> Result<(), TchError> {
        let rate = self.spread(arena, rates)?;
        let parameters = arena.parameters_mut();
        let gradients = self.decay.apply(parameters, gradients, &rate)?;
        let (direction, scale) = match self.rule {
            Rule::Sgd { momentum, nesterov } => (self.sgd_direction(&gradients, momentum, nesterov)?, 1.0),
            Rule::Adam { betas, epsilon } => self.adam_direction(&gradients, betas, epsilon)?,
        };
        rate.subtract(parameters, &direction, scale)
    }

    /// As `torch.optim.SGD`: the first step's buffer is the gradient itself, which a buffer of zeros comes to as well.
    fn sgd_direction(&mut self, gradients: &Tensor, momentum: f64, nesterov: bool) -> Result<Tensor, TchError> {
        let Some((_, buffer)) = self.moments.first_mut() else { return Ok(gradients.shallow_clone()) };
        let buffer = buffer.f_mul_scalar_(momentum)?.f_add_(gradients)?;
        if nesterov { gradients.f_add(&buffer.f_mul_scalar(momentum)?) } else { Ok(buffer) }
    }

    /// As `torch.optim.Adam`: the step direction, and the factor that corrects the bias of the first moment.
    fn adam_direction(&mut self, gradients: &Tensor, betas: [f64; 2], epsilon: f64) -> Result<(Tensor, f64), TchError> {
        let [(_, mean), (_, square)] = self.moments.as_mut_slice() else { unreachable!("adam keeps two moments") };
        let mean = mean.f_lerp_(gradients, 1.0 - betas[0])?;
        let weighted = gradients.f_mul_scalar(1.0 - betas[1])?.f_mul_(gradients)?;
        let square = square.f_mul_scalar_(betas[1])?.f_add_(&weighted)?;
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let denominator = square.f_sqrt()?.f_div_scalar_(correction(betas[1]).sqrt())?.f_add_scalar_(epsilon)?;
        Ok((mean.f_div(&denominator)?, 1.0 / correction(betas[0])))
    }

    fn spread(&mut self, arena: &Arena, rates: &LearningRates) -> Result<Rate, TchError> {
        if let Some(rate) = rates.shared() {
            return Ok(Rate::Shared(rate));
        }
        let members = match self.members.take() {
            Some(members) => members,
            None => arena.member_of_elements()?,
        };
        let of_members: Vec<f32> = rates.0.iter().map(|&rate| rate as f32).collect();
        let of_members = Tensor::f_from_slice(&of_members)?.f_to_device(members.device())?;
        let rate = of_members.f_index_select(0, &members)?;
        self.members = Some(members);
        Ok(Rate::Elementwise(rate))
    }

    /// A copy of the state of all members, on the host.
    pub fn state_on_host(&self) -> Result<Moments, TchError> {
        let copies = self.moments.iter().map(|(moment, flat)| Ok((*moment, on_host(flat)?)));
        Ok(Moments(copies.collect::<Result<_, TchError>>()?))
    }

    /// Replaces one member's state. All members of a pack have made the same number of `steps`.
    pub fn load_state_of(
        &mut self,
        arena: &Arena,
        member: usize,
        tensors: &[(String, Tensor)],
        steps: u64,
    ) -> Result<(), NetworkError> {
        for (moment, flat) in &self.moments {
            let part = |(name, tensor): &(String, Tensor)| {
                let name = name.strip_suffix(moment)?.strip_suffix('.')?;
                Some((name.to_owned(), tensor.shallow_clone()))
            };
            arena.join_of(flat, member, &tensors.iter().filter_map(part).collect::<Vec<_>>())?;
        }
        self.steps = steps;
        Ok(())
    }
}

/// An optimizer's state: flat tensors that lie as the parameters do, by PyTorch's names.
#[derive(Debug)]
pub struct Moments(Vec<(&'static str, Tensor)>);

impl Moments {
    /// One member's state by `parameter.moment` (such as `fc.weight.momentum_buffer`): views.
    pub fn of(&self, arena: &Arena, member: usize) -> Result<Vec<(String, Tensor)>, TchError> {
        let mut state = Vec::new();
        for (moment, flat) in &self.0 {
            let parts = arena.split_of(flat, member)?.into_iter();
            state.extend(parts.map(|(name, tensor)| (format!("{name}.{moment}"), tensor)));
        }
        Ok(state)
    }
}

impl Rule {
    fn moments(self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::Adam { .. } => &["exp_avg", "exp_avg_sq"],
        }
    }
}

impl Decay {
    fn spares(&self, role: Role) -> bool {
        self.mask.is_some() && role != Role::Weight
    }

    /// The gradient that the rule sees; decoupled decay shrinks the parameters instead.
    fn apply(&self, parameters: &mut Tensor, gradients: &Tensor, rate: &Rate) -> Result<Tensor, TchError> {
        if self.rate == 0.0 {
            return Ok(gradients.shallow_clone());
        }
        let decaying = match &self.mask {
            Some(mask) => parameters.f_mul(mask)?.f_mul_scalar_(self.rate)?,
            None => parameters.f_mul_scalar(self.rate)?,
        };
        if !self.is_decoupled {
            return gradients.f_add(&decaying);
        }
        rate.subtract(parameters, &decaying, 1.0)?;
        Ok(gradients.shallow_clone())
    }
}

/// A learning rate as it meets the arena.
enum Rate {
    Shared(f64),
    Elementwise(Tensor),
}

impl Rate {
    /// `parameters -= rate · scale · direction`.
    fn subtract(&self, parameters: &mut Tensor, direction: &Tensor, scale: f64) -> Result<(), TchError> {
        let step = match self {
            Self::Shared(rate) => direction.f_mul_scalar(rate * scale)?,
            Self::Elementwise(rates) => direction.f_mul(rates)?.f_mul_scalar_(scale)?,
        };
        parameters.f_sub_(&step).map(drop)
    }
}

fn check_width(rates: &LearningRates, arena: &Arena) -> Result<(), NetworkError> {
    if rates.0.len() as i64 == arena.width() {
        return Ok(());
    }
    Err(NetworkError::Invalid {
        what: "number of learning rates",
        value: rates.0.len().to_string(),
        range: "one for each member of the pack",
    })
}

/// Moves a running exponential mean of the states towards `state` and keeps the part `kept` of the old mean, as
/// `ensemble::average::ema_decay` says. Counters are copied.
pub fn ema_update(mean: &mut State, state: &State, kept: f64) -> Result<(), TchError> {
    blend(mean, state, 1.0 - kept)
}

/// Adds one more state to a running mean of equal weights over `count` states before. Counters are copied.
pub fn swa_update(mean: &mut State, state: &State, count: u64) -> Result<(), TchError> {
    blend(mean, state, 1.0 / (count as f64 + 1.0))
}

/// `mean += weight · (state - mean)`.
fn blend(mean: &mut State, state: &State, weight: f64) -> Result<(), TchError> {
    tch::no_grad(|| {
        let _ = mean.parameters.f_lerp_(&state.parameters, weight)?;
        let _ = mean.statistics.f_lerp_(&state.statistics, weight)?;
        mean.counters.f_copy_(&state.counters)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ensemble::job::{AdamOptions, AdamWOptions, Architecture, Mlp, Model, Precision, SgdOptions, Stem};
    use tch::Kind;

    use super::*;
    use crate::nn::{InputShape, Network};

    fn pack() -> Network {
        let model = Model { architecture: Architecture::Mlp(Mlp { hidden: vec![19] }), stem: Stem::Cifar };
        let input = InputShape { channels: 1, height: 5, width: 3 };
        Network::new(&model, input, 4, 0.0, &[1, 2], Device::Cpu, Precision::F32).unwrap()
    }

    /// The tensor operations that other devices run, against the kernel of the CPU, which is tested against PyTorch.
    #[test]
    fn both_ways_to_step_agree() {
        let methods = [
            job::Optimizer::Sgd(SgdOptions { momentum: 0.0, nesterov: false, weight_decay: 0.1 }),
            job::Optimizer::Sgd(SgdOptions::default()),
            job::Optimizer::Adam(AdamOptions { weight_decay: 0.1, ..AdamOptions::default() }),
            job::Optimizer::Adamw(AdamWOptions::default()),
        ];
        for (method, decay_all) in methods.iter().flat_map(|method| [(method, true), (method, false)]) {
            for rates in [vec![0.1, 0.1], vec![0.1, 0.03]].map(LearningRates::new) {
                let (mut one, mut other) = (pack(), pack());
                let mut fused = Optimizer::new(method, decay_all, one.arena()).unwrap();
                let mut passes = Optimizer::new(method, decay_all, other.arena()).unwrap();
                for step in 1..4 {
                    let gradients = one.arena().parameters().sin() * f64::from(step);
                    fused.step(one.arena_mut(), &gradients, &rates).unwrap();
                    passes.steps += 1;
                    passes.step_in_passes(other.arena_mut(), &gradients, &rates).unwrap();
                }
                let difference = (one.arena().parameters() - other.arena().parameters()).abs().max();
                let difference = difference.to_kind(Kind::Double).double_value(&[]);
                assert!(difference < 1e-6, "{method:?}: {difference}");
            }
        }
    }
}
