use tch::{TchError, Tensor};

use super::{Builder, Pass};
use crate::nn::initialization::Initialization;
use crate::nn::layout::{Join, ParameterId, Role};

/// A linear layer with bias: one matrix product for each member, batched.
#[derive(Debug)]
pub struct Linear {
    weight: ParameterId,
    bias: ParameterId,
}

impl Linear {
    /// Registers `name.weight` `[outputs, inputs]` and `name.bias` `[outputs]`, initialized as PyTorch does.
    pub fn new(builder: &mut Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        let start = Initialization::default_uniform(inputs);
        let mut parameter = |part: &str, shape: &[i64], role| {
            builder.layout.parameter(format!("{name}.{part}"), shape, Join::Stacked, role, start)
        };
        let weight = parameter("weight", &[outputs, inputs], Role::Weight);
        let bias = parameter("bias", &[outputs], Role::Bias);
        Self { weight, bias }
    }

    /// `[M, B, inputs]` to `[M, B, outputs]`.
    pub fn forward(&self, pass: &Pass, x: &Tensor) -> Result<Tensor, TchError> {
        let weight = pass.arena.leaf(self.weight).f_transpose(1, 2)?;
        pass.arena.leaf(self.bias).f_unsqueeze(1)?.f_baddbmm(x, &weight, 1, 1)
    }
}
