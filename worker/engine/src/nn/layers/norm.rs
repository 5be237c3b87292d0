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
    pub fn forward(
        &self,
        pass: &Pass,
        x: &Tensor,
        residual: Option<&Tensor>,
        after: After,
    ) -> Result<Tensor, TchError> {
        if is_fused(x, residual, after) {
            return self.in_one_pass(pass, x, residual, after);
        }
        self.in_passes(pass, x, residual, after)
    }

    fn in_passes(&self, pass: &Pass, x: &Tensor, residual: Option<&Tensor>, after: After) -> Result<Tensor, TchError> {
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

    fn in_one_pass(
        &self,
        pass: &Pass,
        x: &Tensor,
        residual: Option<&Tensor>,
        after: After,
    ) -> Result<Tensor, TchError> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ensemble::job::Precision;
    use tch::Kind;

    use super::*;
    use crate::nn::Mode;
    use crate::nn::arena::Arena;
    use crate::nn::layout::Layout;
    use crate::random::{Purpose, RandomStreams};

    const CHANNELS: i64 = 112;

    /// A norm whose scales have both signs, and whose running statistics are away from their start.
    fn norm() -> (BatchNorm, Arena) {
        let mut layout = Layout::new(1);
        let norm = BatchNorm::new(&mut Builder::new(&mut layout, 0.0), "bn", CHANNELS);
        let mut arena = Arena::new(layout, &[1], Device::Cpu, Precision::F32).unwrap();
        let wave = |phase: f64| (Tensor::arange(CHANNELS, (Kind::Float, Device::Cpu)) + phase).sin();
        let named = |name: &str, tensor| (format!("bn.{name}"), tensor);
        let counter = Tensor::zeros([0i64; 0], (Kind::Int64, Device::Cpu));
        let state = [
            named("weight", wave(0.5) * 2.0),
            named("bias", wave(1.0)),
            named("running_mean", wave(2.0)),
            named("running_var", wave(3.0) + 1.5),
            named("num_batches_tracked", counter),
        ];
        arena.load_state_of(0, &state).unwrap();
        (norm, arena)
    }

    fn images(seed: i64) -> Tensor {
        tch::manual_seed(seed);
        let rows = Tensor::randn([3, 7, 5, CHANNELS], (Kind::Float, Device::Cpu)) * 2.0 + 0.5;
        rows.permute([0, 3, 1, 2]).set_requires_grad(true)
    }

    /// The output, what flows back to images, residual, weight and bias, and the running statistics.
    fn everything(mode: Mode, after: After, adds: bool, is_fused: bool) -> Vec<Tensor> {
        let (norm, arena) = norm();
        let masks = RandomStreams::new(&[1]).at(Purpose::Dropout, 0);
        let pass = Pass { arena: &arena, mode, masks, momentum: 0.3 };
        let (x, residual) = (images(1), images(2));
        let added = adds.then_some(&residual);
        let y = match is_fused {
            true => norm.in_one_pass(&pass, &x, added, after).unwrap(),
            false => norm.in_passes(&pass, &x, added, after).unwrap(),
        };
        tch::manual_seed(3);
        let arriving = Tensor::randn(y.size(), (Kind::Float, Device::Cpu));
        let loss = (&y * arriving).sum(Kind::Float);
        let mut inputs = vec![&x, arena.leaf(norm.weight), arena.leaf(norm.bias)];
        inputs.extend(added);
        let mut all = Tensor::run_backward(&[loss], &inputs, false, false);
        all.push(y.detach());
        all.push(arena.state().statistics.copy());
        all
    }

    #[test]
    fn one_pass_and_many_agree() {
        let whats = [(After::Nothing, false), (After::Relu, false), (After::Relu, true), (After::ReluPool, false)];
        for (mode, (after, adds)) in
            [Mode::Train { step: 0 }, Mode::Evaluate].into_iter().flat_map(|mode| whats.map(|what| (mode, what)))
        {
            let pairs = everything(mode, after, adds, true).into_iter().zip(everything(mode, after, adds, false));
            for (index, (fused, passes)) in pairs.enumerate() {
                let error = ((fused - &passes).abs().max() / passes.abs().max()).double_value(&[]);
                assert!(error < 1e-5, "{mode:?}, {after:?}, residual {adds}, tensor {index}: {error}");
            }
        }
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused() {
        let (norm, arena) = norm();
        let masks = RandomStreams::new(&[1]).at(Purpose::Dropout, 0);
        let pass = Pass { arena: &arena, mode: Mode::Evaluate, masks, momentum: 0.0 };
        let rows_first = Tensor::ones([2, CHANNELS, 3, 3], (Kind::Float, Device::Cpu));
        let error = norm.in_one_pass(&pass, &rows_first, None, After::Relu).unwrap_err().to_string();
        assert!(error.contains("images must be channels-last on the CPU"), "{error}");
    }

    /// A run that diverges must show: the rectifier lets NaN through.
    #[test]
    fn nan_is_not_rectified_away() {
        let (norm, arena) = norm();
        let masks = RandomStreams::new(&[1]).at(Purpose::Dropout, 0);
        let pass = Pass { arena: &arena, mode: Mode::Evaluate, masks, momentum: 0.0 };
        let x = images(3) * f64::NAN;
        for after in [After::Relu, After::ReluPool] {
            let y = norm.forward(&pass, &x, None, after).unwrap();
            assert!(y.isnan().all().int64_value(&[]) != 0);
        }
    }
}
