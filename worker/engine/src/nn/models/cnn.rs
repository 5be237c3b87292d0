use tch::{TchError, Tensor};

use super::Model;
use crate::nn::initialization::Initialization;
use crate::nn::layers::{
    After, BatchNorm, Builder, Conv2d, Dropout, Geometry, Linear, Pass, global_average, stack_members,
};

/// Channels of the three blocks: about 94,000 parameters on gray images with ten classes.
const CHANNELS: [i64; 3] = [32, 64, 128];

/// Three blocks of convolution, normalization and rectifier, the first two halving the image, then the mean of each
/// channel, dropout, and a linear layer. Names: `conv1`, `bn1`, .., `fc`.
#[derive(Debug)]
pub struct Cnn {
    blocks: Vec<(Conv2d, BatchNorm, After)>,
    dropout: Dropout,
    head: Linear,
}

impl Cnn {
    pub fn new(builder: &mut Builder, mut inputs: i64, classes: i64) -> Self {
        let mut blocks = Vec::with_capacity(CHANNELS.len());
        for (block, outputs) in (1..).zip(CHANNELS) {
            let geometry = Geometry { inputs, outputs, kernel: 3, stride: 1 };
            let start = Initialization::default_uniform(inputs * 9);
            let conv = Conv2d::new(builder, &format!("conv{block}"), geometry, start);
            let norm = BatchNorm::new(builder, &format!("bn{block}"), outputs);
            blocks.push((conv, norm, if block < CHANNELS.len() { After::ReluPool } else { After::Relu }));
            inputs = outputs;
        }
        Self { blocks, dropout: builder.dropout(), head: Linear::new(builder, "fc", inputs, classes) }
    }
}

impl Model for Cnn {
    fn forward(&self, pass: &Pass, mut x: Tensor) -> Result<Tensor, TchError> {
        for (conv, norm, after) in &self.blocks {
            x = norm.forward(pass, &conv.forward(pass, &x)?, None, *after)?;
        }
        let x = stack_members(&global_average(&x)?, pass.width())?;
        self.head.forward(pass, &self.dropout.forward(pass, x)?)
    }
}
