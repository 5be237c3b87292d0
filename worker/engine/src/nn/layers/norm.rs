use tch::{TchError, Tensor};

use super::{Builder, Pass};
use crate::nn::initialization::Initialization;
use crate::nn::layout::{Join, ParameterId, Role, StatisticsId};

/// Added to variances, as PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Batch normalization over `M·C` channels: each channel of each member has statistics of its own.
#[derive(Debug)]
pub struct BatchNorm {
    weight: ParameterId,
    bias: ParameterId,
    statistics: StatisticsId,
}

/// What follows a normalization, so that it can be done in the same pass over memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// A rectifier.
    Relu,
    /// A rectifier, then the maximum of each 2 × 2 window.
    ReluPool,
}

impl BatchNorm {
    /// Registers `name.weight`, `name.bias` and the running statistics.
    pub fn new(builder: &mut Builder, name: &str, channels: i64) -> Self {
        let mut parameter = |part: &str, start| {
            builder.layout.parameter(format!("{name}.{part}"), &[channels], Join::Channels, Role::Norm, start)
        };
        let weight = parameter("weight", Initialization::Ones);
        let bias = parameter("bias", Initialization::Zeros);
        Self { weight, bias, statistics: builder.layout.running_statistics(name, channels) }
    }

    /// Normalizes `[B, M·C, H, W]`, adds `residual` if there is one, and does what comes `after`.
    pub fn forward(
        &self,
        pass: &Pass,
        x: &Tensor,
        residual: Option<&Tensor>,
        after: After,
    ) -> Result<Tensor, TchError> {
        let mut y = self.normalize(pass, x)?;
        if let Some(residual) = residual {
            y = y.f_add_(residual)?;
        }
        match after {
            After::Nothing => Ok(y),
            After::Relu => y.f_relu_(),
            After::ReluPool => super::max_pool(&y.f_relu_()?, 2, 2, 0),
        }
    }

    fn normalize(&self, pass: &Pass, x: &Tensor) -> Result<Tensor, TchError> {
        let [mean, variance] = pass.arena.statistics(self.statistics)?;
        x.f_batch_norm(
            Some(pass.arena.leaf(self.weight)),
            Some(pass.arena.leaf(self.bias)),
            Some(&mean),
            Some(&variance),
            pass.uses_batch_statistics(),
            pass.momentum,
            EPSILON,
            true,
        )
    }
}
