//! The learning rate as a pure function of the step.
//!
//! A step is one update of the weights, counted from 0. Where `torch.optim.lr_scheduler` has the schedule, the values
//! are PyTorch's, for a scheduler that is stepped after every update:
//!
//! | `learning_rate` | PyTorch, with T = steps after warm-up |
//! |---|---|
//! | `constant` | `ConstantLR(factor=1)` |
//! | `step` | `MultiStepLR`, milestones in epochs of the whole run |
//! | `cosine` | `CosineAnnealingLR(T_max=T)` |
//! | `cosine_cycles` | `CosineAnnealingWarmRestarts(T_0=T / cycles, T_mult=1)` where that divides |
//! | `one_cycle` | `OneCycleLR(total_steps=T, anneal_strategy="cos")` |
//! | `warmup_epochs` | `LinearLR(start_factor=1 / (W + 1), total_iters=W)` joined by `SequentialLR`, W = its steps |

use crate::job::{Cosine, CosineCycles, LearningRate, OneCycle, StepDecay, Train};
use std::f64::consts::PI;

/// The learning rate of every step of a run. Pure: a run that is resumed asks for the step it stands at.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    rate: LearningRate,
    steps_per_epoch: u64,
    /// Steps of linear growth before the schedule proper.
    warmup: u64,
    /// Steps of the whole run, the warm-up included; at least 1.
    steps: u64,
}

impl Schedule {
    /// The schedule of a recipe whose epochs have `steps_per_epoch` steps (0 counts as 1).
    pub fn new(train: &Train, steps_per_epoch: u64) -> Self {
        let steps_per_epoch = steps_per_epoch.max(1);
        let steps = steps_per_epoch.saturating_mul(train.epochs.max(1).into());
        // A negative or NaN fraction saturates to 0; validation has refused it anyway.
        let warmup = (train.warmup_epochs * steps_per_epoch as f64).round() as u64;
        Self { rate: train.learning_rate.clone(), steps_per_epoch, warmup: warmup.min(steps - 1), steps }
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The learning rate of the update that follows `step` finished ones. Past the end it stays as at the last step.
    pub fn at(&self, step: u64) -> f64 {
        let step = step.min(self.steps - 1);
        match step.checked_sub(self.warmup) {
            Some(since_warmup) => self.proper(since_warmup),
            // Grows towards the value that the schedule starts with, from 0 one step before the first.
            None => self.proper(0) * (step + 1) as f64 / (self.warmup + 1) as f64,
        }
    }

    /// After how many steps each learning-rate cycle is complete, in rising order: where snapshots are taken. The last
    /// is the end of the run; a schedule without restarts is one cycle.
    pub fn cycle_ends(&self) -> impl Iterator<Item = u64> {
        (1..=self.cycles()).map(|cycle| self.warmup + boundary(cycle, self.cycles(), self.proper_steps()))
    }

    /// The cycle, from 0, that is complete after `done` steps; `None` in the middle of one.
    pub fn cycle_ended(&self, done: u64) -> Option<u32> {
        let last = done.checked_sub(self.warmup + 1)?.min(self.proper_steps() - 1);
        let cycle = cycle_of(last, self.cycles(), self.proper_steps());
        (self.warmup + boundary(cycle + 1, self.cycles(), self.proper_steps()) == done).then_some(cycle)
    }

    fn proper(&self, step: u64) -> f64 {
        let steps = self.proper_steps();
        match &self.rate {
            LearningRate::Constant(constant) => constant.max,
            LearningRate::Step(decay) => step_decay(decay, (self.warmup + step) / self.steps_per_epoch),
            LearningRate::Cosine(cosine) => half_cosine(cosine, step, steps),
            LearningRate::CosineCycles(cycles) => cosine_cycles(cycles, step, steps),
            LearningRate::OneCycle(cycle) => one_cycle(cycle, step, steps),
        }
    }

    fn proper_steps(&self) -> u64 {
        self.steps - self.warmup
    }

    fn cycles(&self) -> u32 {
        match &self.rate {
            LearningRate::CosineCycles(rate) => rate.cycles.max(1),
            _ => 1,
        }
    }
}

/// `max * gamma^(milestones reached)`.
pub fn step_decay(decay: &StepDecay, epoch: u64) -> f64 {
    let reached = decay.milestones.iter().filter(|&&milestone| u64::from(milestone) <= epoch).count();
    decay.max * decay.gamma.powi(reached as i32)
}

/// `min + (max - min) * (1 + cos(pi * step / steps)) / 2`, the closed form of `CosineAnnealingLR`.
pub fn half_cosine(cosine: &Cosine, step: u64, steps: u64) -> f64 {
    anneal(cosine.max, cosine.min, step as f64 / steps as f64)
}

/// A half cosine over each of `cycles` equal parts of `steps`. Where they cannot be equal, they differ by one step,
/// and the run still ends with a whole cycle (the Snapshot Ensembles formula, Huang et al. 2017, cuts the last short).
pub fn cosine_cycles(rate: &CosineCycles, step: u64, steps: u64) -> f64 {
    let cycles = rate.cycles.max(1);
    let cycle = cycle_of(step, cycles, steps);
    let start = boundary(cycle, cycles, steps);
    let length = boundary(cycle + 1, cycles, steps) - start;
    anneal(rate.max, rate.min, (step - start) as f64 / length as f64)
}

/// Up from `max / start_factor` to `max` in the first `rise` of the steps, then down to
/// `max / start_factor / final_factor` at the last one; both by half a cosine.
pub fn one_cycle(rate: &OneCycle, step: u64, steps: u64) -> f64 {
    let (step, last) = (step as f64, steps as f64 - 1.0);
    let peak = rate.rise * steps as f64 - 1.0;
    let start = rate.max / rate.start_factor;
    if step < peak {
        return anneal(start, rate.max, step / peak);
    }
    // A run so short that it has no rise starts at the peak.
    let peak = peak.max(0.0);
    let fallen = if last > peak { (step - peak) / (last - peak) } else { 0.0 };
    anneal(rate.max, start / rate.final_factor, fallen)
}

/// Half a cosine from `from` (progress 0) to `to` (progress 1).
fn anneal(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * progress).cos()) / 2.0
}

/// The first step of a cycle. 128 bits, because the product may exceed 64.
fn boundary(cycle: u32, cycles: u32, steps: u64) -> u64 {
    (u128::from(cycle) * u128::from(steps) / u128::from(cycles)) as u64
}

/// The last cycle that starts at or before `step`, which is below `steps`.
fn cycle_of(step: u64, cycles: u32, steps: u64) -> u32 {
    (((u128::from(step) + 1) * u128::from(cycles)).div_ceil(u128::from(steps)) - 1) as u32
}
