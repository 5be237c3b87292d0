use tch::{TchError, Tensor};

use super::Model;
use crate::nn::InputShape;
use crate::nn::layers::{Builder, Dropout, Linear, Pass};

/// Linear layers with rectifiers in between, and dropout after each rectifier. Names: `hidden.0.weight`, .., `fc.bias`.
#[derive(Debug)]
pub struct Mlp {
    hidden: Vec<(Linear, Dropout)>,
    head: Linear,
}

impl Mlp {
    pub fn new(builder: &mut Builder, hidden: &[i64], input: InputShape, classes: i64) -> Self {
        let mut features = input.channels * input.height * input.width;
        let mut layers = Vec::with_capacity(hidden.len());
        for (index, &outputs) in hidden.iter().enumerate() {
            let linear = Linear::new(builder, &format!("hidden.{index}"), features, outputs);
            layers.push((linear, builder.dropout()));
            features = outputs;
        }
        Self { hidden: layers, head: Linear::new(builder, "fc", features, classes) }
    }
}

impl Model for Mlp {
    fn forward(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError> {
        let mut x = flatten(&x, pass.width())?;
        for (linear, dropout) in &self.hidden {
            x = dropout.forward(pass, linear.forward(pass, &x)?.f_relu_()?)?;
        }
        self.head.forward(pass, &x)
    }
}

/// `[B, M·C, H, W]` to `[M, B, C·H·W]`, each image in PyTorch's order: channel, row, column.
fn flatten(x: &Tensor, members: i64) -> Result<Tensor, TchError> {
    let (batch, channels, height, width) = x.size4()?;
    let images = x.f_reshape([batch, members, channels / members * height * width])?;
    images.f_transpose(0, 1)
}
