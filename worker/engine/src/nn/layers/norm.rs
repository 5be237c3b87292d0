use tch::{Device, TchError, Tensor};

use super::{Builder, Pass};
use crate::nn::initialization::Initialization;
use crate::nn::layout::{Join, ParameterId, Role, StatisticsId};
use crate::shim;

/// Added to variances, as PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Batch normalization over `M·C` channels: each channel of each member has statistics of its own.
#[derive(Debug)]
pub struct BatchNorm {
    weight: ParameterId,
    bias: ParameterId,
    statistics: StatisticsId,
}

/// What follows a normalization, so that it can be done in the same pass over memory. The numbers are `norm.cpp`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing = 0,
    /// A rectifier.
    Relu = 1,
    /// A rectifier, then the maximum of each 2 × 2 window.
    ReluPool = 2,
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
    pub fn forward(&self, pass: &Pass, x: &Tensor, residual: Option<&Tensor>, after: After) -> Result<Tensor, TchError> {
        if is_fused(x, residual, after) {
            return self.in_one_pass(pass, x, residual, after);
        }
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

    fn in_one_pass(&self, pass: &Pass, x: &Tensor, residual: Option<&Tensor>, after: After) -> Result<Tensor, TchError> {
        let [running_mean, running_variance] = pass.arena.statistics(self.statistics)?;
        let norm = shim::Norm {
            weight: pass.arena.leaf(self.weight),
            bias: pass.arena.leaf(self.bias),
            running_mean: &running_mean,
            running_variance: &running_variance,
            uses_batch: pass.uses_batch_statistics(),
            momentum: pass.momentum,
            epsilon: EPSILON,
            after: after as i64,
        };
        Ok(shim::norm(x, residual, &norm)?)
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

/// Where the shim has a kernel: on the CPU, sixteen channels at a time.
fn is_fused(x: &Tensor, residual: Option<&Tensor>, after: After) -> bool {
    let has_kernel = residual.is_none() || after == After::Relu;
    x.device() == Device::Cpu && x.size()[1] % 16 == 0 && has_kernel
}
