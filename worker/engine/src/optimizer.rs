//! Optimizers on the flat arena, with PyTorch's formulas and their state in our own hands.

use ensemble::job;
use tch::{TchError, Tensor};

use crate::nn::NetworkError;
use crate::nn::arena::{Arena, State};

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
        tch::no_grad(|| self.step_in_passes(arena, gradients, rates))?;
        Ok(())
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
        let weight = Tensor::from((1.0 - betas[0]) as f32).f_to_device(gradients.device())?;
        let mean = mean.f_lerp_tensor_(gradients, &weight)?;
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

    /// One member's state by `parameter.moment` (such as `fc.weight.momentum_buffer`), on the CPU.
    pub fn state_of(&self, arena: &Arena, member: usize) -> Result<Vec<(String, Tensor)>, TchError> {
        let mut state = Vec::new();
        for (moment, flat) in &self.moments {
            let parts = arena.split_of(flat, member)?.into_iter();
            state.extend(parts.map(|(name, tensor)| (format!("{name}.{moment}"), tensor)));
        }
        Ok(state)
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
