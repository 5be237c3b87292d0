use tch::{TchError, Tensor};

use super::{Builder, Pass};
use crate::nn::initialization::Initialization;
use crate::nn::layout::{Join, ParameterId, Role};

/// A square two-dimensional convolution without bias: normalizations follow every one of ours.
#[derive(Debug)]
pub struct Conv2d {
    weight: ParameterId,
    stride: i64,
    padding: i64,
}

/// The geometry of a [`Conv2d`].
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Channels in, of one member.
    pub inputs: i64,
    /// Channels out, of one member.
    pub outputs: i64,
    /// Side of the kernel.
    pub kernel: i64,
    /// Stride in both directions.
    pub stride: i64,
}

impl Conv2d {
    /// Registers `name.weight`. Padding keeps the size at stride 1.
    pub fn new(builder: &mut Builder, name: &str, geometry: Geometry, initialization: Initialization) -> Self {
        let Geometry { inputs, outputs, kernel, stride } = geometry;
        let shape = [outputs, inputs, kernel, kernel];
        let weight =
            builder.layout.parameter(format!("{name}.weight"), &shape, Join::Channels, Role::Weight, initialization);
        Self { weight, stride, padding: kernel / 2 }
    }

    /// `[B, M·I, H, W]` to `[B, M·O, H', W']`: one group of channels for each member.
    pub fn forward(&self, pass: &Pass, x: &Tensor) -> Result<Tensor, TchError> {
        let weight = pass.arena.leaf(self.weight);
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.f_conv2d(weight, None::<&Tensor>, stride, padding, [1, 1], pass.width())
    }
}
