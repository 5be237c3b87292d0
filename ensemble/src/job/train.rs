//! The `train` section: a member's training recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a member is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Passes over the training part.
    pub epochs: u32,
    /// Samples a step.
    #[serde(default = "default_batch_size")]
    pub batch_size: u32,
    /// The arithmetic of the forward and backward pass.
    #[serde(default)]
    pub precision: Precision,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// The learning rate as a function of the step.
    #[serde(default)]
    pub learning_rate: LearningRate,
    /// Epochs, or a fraction of one, over which the learning rate first grows linearly from 0.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// What keeps the member from learning the training data by heart.
    #[serde(default)]
    pub regularize: Regularize,
    /// How each image is changed before the network sees it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Augmentation>,
    /// When to stop before the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// How many members of one architecture train side by side in one program.
    #[serde(default = "one")]
    pub pack: u32,
}

fn default_batch_size() -> u32 {
    128
}

fn one() -> u32 {
    1
}

/// The arithmetic of the forward and backward pass. Weights and optimizer state are f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16, with f32 master weights.
    Bf16,
}

/// The optimizer, with PyTorch's formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(SgdOptions),
    /// Adam (Kingma and Ba 2015, arXiv:1412.6980), with weight decay added to the gradient.
    Adam(AdamOptions),
    /// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): Adam with decoupled weight decay.
    Adamw(AdamWOptions),
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd(SgdOptions::default())
    }
}

/// Options of stochastic gradient descent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SgdOptions {
    /// How much of the last step's direction is kept: at least 0, below 1.
    pub momentum: f64,
    /// Whether the gradient is looked at one step ahead.
    pub nesterov: bool,
    /// The factor of the weights added to the gradient.
    pub weight_decay: f64,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: true, weight_decay: 5e-4 }
    }
}

/// Options of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamOptions {
    /// Decay of the running mean and of the running square of the gradient.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub epsilon: f64,
    /// The factor of the weights added to the gradient.
    pub weight_decay: f64,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Options of AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWOptions {
    /// Decay of the running mean and of the running square of the gradient.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub epsilon: f64,
    /// The share of the weights, times the learning rate, taken off each step.
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// The learning rate as a pure function of the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// The same at every step.
    Constant(Constant),
    /// Divided at given epochs.
    Step(StepDecay),
    /// Half a cosine from `max` down to `min` over the whole run.
    Cosine(Cosine),
    /// A cosine with warm restarts (Loshchilov and Hutter 2017, arXiv:1608.03983), cycles of equal length.
    CosineCycles(CosineCycles),
    /// Up to `max` and down again (Smith and Topin 2018, arXiv:1708.07120).
    OneCycle(OneCycle),
}

impl Default for LearningRate {
    fn default() -> Self {
        Self::Cosine(Cosine::default())
    }
}

/// The same learning rate at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The learning rate.
    pub max: f64,
}

/// A learning rate that drops at given epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDecay {
    /// The learning rate at the start.
    pub max: f64,
    /// The epochs at which it is multiplied by `gamma`, in rising order.
    pub milestones: Vec<u32>,
    /// The factor.
    #[serde(default = "one_tenth")]
    pub gamma: f64,
}

fn one_tenth() -> f64 {
    0.1
}

/// Half a cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// The learning rate at the start.
    pub max: f64,
    /// The learning rate at the end.
    pub min: f64,
}

impl Default for Cosine {
    fn default() -> Self {
        Self { max: 0.1, min: 0.0 }
    }
}

/// A cosine with warm restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosineCycles {
    /// The learning rate at the start of each cycle.
    pub max: f64,
    /// The learning rate at the end of each cycle.
    #[serde(default)]
    pub min: f64,
    /// How many cycles the run has.
    pub cycles: u32,
}

/// One rise and one fall, as `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneCycle {
    /// The highest learning rate.
    pub max: f64,
    /// The part of the run spent rising: above 0, below 1.
    #[serde(default = "three_tenths")]
    pub rise: f64,
    /// `max` divided by the learning rate at the start.
    #[serde(default = "twenty_five")]
    pub start_factor: f64,
    /// The learning rate at the start divided by the one at the end.
    #[serde(default = "ten_thousand")]
    pub final_factor: f64,
}

fn three_tenths() -> f64 {
    0.3
}

fn twenty_five() -> f64 {
    25.0
}

fn ten_thousand() -> f64 {
    1e4
}

impl LearningRate {
    /// The highest learning rate of the schedule.
    pub fn max(&self) -> f64 {
        match self {
            Self::Constant(schedule) => schedule.max,
            Self::Step(schedule) => schedule.max,
            Self::Cosine(schedule) => schedule.max,
            Self::CosineCycles(schedule) => schedule.max,
            Self::OneCycle(schedule) => schedule.max,
        }
    }
}

/// What keeps a member from learning the training data by heart, beside weight decay and augmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Regularize {
    /// The share of the target spread evenly over all classes: at least 0, below 1.
    pub label_smoothing: f64,
    /// The probability that a unit before the last layer is dropped: at least 0, below 1.
    pub dropout: f64,
    /// Whether weight decay also applies to biases and to the scale and shift of norms.
    pub decay_biases_and_norms: bool,
}

impl Default for Regularize {
    fn default() -> Self {
        Self { label_smoothing: 0.0, dropout: 0.0, decay_biases_and_norms: true }
    }
}

/// A random change to each image of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Augmentation {
    /// Zero-pads and cuts out a window of the original size at a random place.
    RandomCrop(RandomCrop),
    /// Mirrors left and right with probability one half.
    HorizontalFlip,
}

/// Options of the random crop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomCrop {
    /// Pixels added on each side.
    pub padding: u32,
}

impl Default for RandomCrop {
    fn default() -> Self {
        Self { padding: 4 }
    }
}

/// Stops a run that no longer gets better on the validation part, and gives back its best weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a better score after which the run stops.
    pub patience: u32,
    /// The score.
    #[serde(default)]
    pub metric: StopMetric,
}

/// A score on held-out samples by which models are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopMetric {
    /// Negative log-likelihood; lower is better.
    #[default]
    Nll,
    /// Accuracy; higher is better.
    Accuracy,
}
