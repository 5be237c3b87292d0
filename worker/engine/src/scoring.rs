//! Predictions of a pack, and what they are worth.

use tch::{Kind, Reduction, TchError, Tensor};

use crate::data::EvaluationBatches;
use crate::event::{Event, Listener};
use crate::nn::{Mode, Network, NetworkError};

/// Images in one evaluation pass, of all members together: enough to keep a GPU busy, little beside training's memory.
const PASS_MAX: i64 = 1024;

/// How well a model predicts some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The share of samples whose most probable class is the true one.
    pub accuracy: f64,
    /// Mean negative log-likelihood, in nats.
    pub nll: f64,
}

/// Samples of each member in one evaluation pass of a pack.
pub fn batch_size(members: i64) -> i64 {
    (PASS_MAX / members).max(32)
}

/// Logits and labels of one member, on the device.
#[derive(Debug)]
pub struct Answers {
    /// `[N, K]`, f32.
    pub logits: Tensor,
    /// `[N]`, i64.
    pub labels: Tensor,
}

/// What each member answers for its samples.
pub fn answers(
    network: &mut Network,
    batches: &EvaluationBatches<'_>,
    listener: &mut dyn Listener,
) -> Result<Vec<Answers>, NetworkError> {
    let (mut logits, mut labels) = (Vec::new(), Vec::new());
    for batch in batches.iter() {
        let batch = batch?;
        logits.push(network.forward(&batch.images, Mode::Evaluate)?);
        labels.push(batch.labels);
        listener.tell(Event::Further);
    }
    let (logits, labels) = (Tensor::f_cat(&logits, 1)?, Tensor::f_cat(&labels, 1)?);
    let of_member = |(member, &count): (i64, &i64)| {
        let own = |all: &Tensor| all.f_get(member)?.f_narrow(0, 0, count);
        Ok(Answers { logits: own(&logits)?, labels: own(&labels)? })
    };
    (0..).zip(batches.counts()).map(of_member).collect::<Result<_, TchError>>().map_err(NetworkError::from)
}

impl Answers {
    /// Accuracy and negative log-likelihood.
    pub fn score(&self) -> Result<Score, TchError> {
        let losses = cross_entropy(&self.logits, &self.labels, 0.0)?;
        let correct = self.logits.f_argmax(-1, false)?.f_eq_tensor(&self.labels)?;
        let mean = |values: Tensor| values.f_mean(Kind::Double)?.f_double_value(&[]);
        Ok(Score { accuracy: mean(correct.f_to_kind(Kind::Double)?)?, nll: mean(losses)? })
    }
}

/// The loss of every sample, `[.., K]` logits to `[..]`, as `torch.nn.functional.cross_entropy` without reduction.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, label_smoothing: f64) -> Result<Tensor, TchError> {
    let classes = logits.size().last().copied().unwrap_or(1);
    let (rows, targets) = (logits.f_reshape([-1, classes])?, labels.f_reshape([-1])?);
    let losses = rows.f_cross_entropy_loss(&targets, None::<&Tensor>, Reduction::None, -100, label_smoothing)?;
    losses.f_view_as(labels)
}
