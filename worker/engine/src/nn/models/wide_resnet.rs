use tch::{TchError, Tensor};

use super::Model;
use crate::nn::initialization::Initialization;
use crate::nn::layers::{
    After, BatchNorm, Builder, Conv2d, Dropout, Geometry, Linear, Pass, global_average, stack_members,
};
use crate::nn::{NetworkError, invalid, within};

/// A wide residual network (Zagoruyko and Komodakis 2016, arXiv:1605.07146): normalization and rectifier before each
/// convolution, dropout between the two of a block. Names: `conv1`, `layer1.0.bn1`, .., `bn`, `fc`.
#[derive(Debug)]
pub struct WideResNet {
    stem: Conv2d,
    blocks: Vec<PreActivated>,
    norm: BatchNorm,
    head: Linear,
}

impl WideResNet {
    pub fn new(
        builder: &mut Builder,
        depth: i64,
        factor: i64,
        channels: i64,
        classes: i64,
    ) -> Result<Self, NetworkError> {
        within("widen_factor", factor, 1, 64, "1 to 64")?;
        if !(10..=1000).contains(&depth) || (depth - 4) % 6 != 0 {
            return Err(invalid("depth", depth, "6n + 4, such as 16, 28 or 40, up to 1000"));
        }
        let stem = conv(builder, "conv1", channels, 16, 3, 1);
        let mut inputs = 16;
        let mut blocks = Vec::new();
        for stage in 1..=3 {
            let outputs = (8 << stage) * factor;
            for index in 0..(depth - 4) / 6 {
                let stride = if stage > 1 && index == 0 { 2 } else { 1 };
                let name = format!("layer{stage}.{index}");
                blocks.push(PreActivated::new(builder, &name, inputs, outputs, stride));
                inputs = outputs;
            }
        }
        let (norm, head) = (BatchNorm::new(builder, "bn", inputs), Linear::new(builder, "fc", inputs, classes));
        Ok(Self { stem, blocks, norm, head })
    }
}

impl Model for WideResNet {
    fn forward(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError> {
        let mut x = self.stem.forward(pass, &x)?;
        for block in &self.blocks {
            x = block.forward(pass, x)?;
        }
        let x = self.norm.forward(pass, &x, None, After::Relu)?;
        self.head.forward(pass, &stack_members(&global_average(&x)?, pass.width())?)
    }
}

fn conv(builder: &mut Builder, name: &str, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Conv2d {
    let start = Initialization::kaiming_normal_fan_out(outputs, kernel);
    Conv2d::new(builder, name, Geometry { inputs, outputs, kernel, stride }, start)
}

/// `x + conv2(drop(relu(bn2(conv1(relu(bn1(x)))))))`; where shapes differ, a 1×1 convolution of `relu(bn1(x))` takes the
/// place of `x`.
#[derive(Debug)]
struct PreActivated {
    norms: [BatchNorm; 2],
    convs: [Conv2d; 2],
    dropout: Dropout,
    shortcut: Option<Conv2d>,
}

impl PreActivated {
    fn new(builder: &mut Builder, name: &str, inputs: i64, outputs: i64, stride: i64) -> Self {
        let norm1 = BatchNorm::new(builder, &format!("{name}.bn1"), inputs);
        let conv1 = conv(builder, &format!("{name}.conv1"), inputs, outputs, 3, stride);
        let norm2 = BatchNorm::new(builder, &format!("{name}.bn2"), outputs);
        let conv2 = conv(builder, &format!("{name}.conv2"), outputs, outputs, 3, 1);
        let projects = stride != 1 || inputs != outputs;
        let shortcut = projects.then(|| conv(builder, &format!("{name}.shortcut"), inputs, outputs, 1, stride));
        Self { norms: [norm1, norm2], convs: [conv1, conv2], dropout: builder.dropout(), shortcut }
    }

    fn forward(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError> {
        let [norm1, norm2] = &self.norms;
        let [conv1, conv2] = &self.convs;
        let active = norm1.forward(pass, &x, None, After::Relu)?;
        let shortcut = match &self.shortcut {
            Some(conv) => conv.forward(pass, &active)?,
            None => x,
        };
        let y = norm2.forward(pass, &conv1.forward(pass, &active)?, None, After::Relu)?;
        let y = conv2.forward(pass, &self.dropout.forward_images(pass, y)?)?;
        y.f_add(&shortcut)
    }
}
