//! Initial values of parameters, as PyTorch's modules draw them, from a stream of the member's own.

use crate::random::Stream;

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initialization {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in ± this bound.
    Uniform(f64),
}

impl Initialization {
    /// He initialization in the mode `fan_out`, for rectifiers: what torchvision gives a ResNet's convolutions.
    pub fn kaiming_normal_fan_out(outputs: i64, kernel: i64) -> Self {
        Self::Normal((2.0 / (outputs * kernel * kernel) as f64).sqrt())
    }

    /// PyTorch's default for the weight and the bias of linear and convolutional layers alike: `kaiming_uniform` with
    /// a = √5 comes to ±1/√fan_in.
    pub fn default_uniform(fan_in: i64) -> Self {
        Self::Uniform(1.0 / (fan_in as f64).sqrt())
    }

    /// `length` values in the row-major order of the parameter's shape.
    pub fn draw(self, stream: Stream, length: usize) -> Vec<f32> {
        match self {
            Self::Zeros => vec![0.0; length],
            Self::Ones => vec![1.0; length],
            Self::Normal(deviation) => stream.normals(length).into_iter().map(|x| x * deviation as f32).collect(),
            Self::Uniform(bound) => stream.symmetric(length, bound),
        }
    }
}
