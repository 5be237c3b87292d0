use ensemble::job::Stem;
use tch::{TchError, Tensor};

use super::Model;
use crate::nn::initialization::Initialization;
use crate::nn::layers::{
    After, BatchNorm, Builder, Conv2d, Dropout, Geometry, Linear, Pass, global_average, max_pool, stack_members,
};

/// What a residual block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 (with the stride, as torchvision has it), and 1×1 to four times the channels.
    Bottleneck,
}

/// A ResNet: its block, and how many of them each of the four stages has.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    block: Block,
    depths: [i64; 4],
}

pub const RESNET18: Plan = Plan { block: Block::Basic, depths: [2, 2, 2, 2] };
pub const RESNET34: Plan = Plan { block: Block::Basic, depths: [3, 4, 6, 3] };
pub const RESNET50: Plan = Plan { block: Block::Bottleneck, depths: [3, 4, 6, 3] };

/// A residual network (He et al. 2016, arXiv:1512.03385), with torchvision's names and initialization, and dropout
/// before the last layer.
#[derive(Debug)]
pub struct ResNet {
    stem: (Conv2d, BatchNorm),
    pools: bool,
    blocks: Vec<Residual>,
    dropout: Dropout,
    head: Linear,
}

impl ResNet {
    pub fn new(builder: &mut Builder, plan: Plan, stem: Stem, channels: i64, classes: i64) -> Self {
        let (kernel, stride) = match stem {
            Stem::Cifar => (3, 1),
            Stem::Imagenet => (7, 2),
        };
        let first = Unit { name: "", index: 1, inputs: channels, outputs: 64, kernel, stride }.build(builder);
        let mut inputs = 64;
        let mut blocks = Vec::new();
        for (stage, (depth, width)) in plan.depths.into_iter().zip([64, 128, 256, 512]).enumerate() {
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}.", stage + 1);
                let block = Residual::new(builder, &name, plan.block, inputs, width, stride);
                inputs = block.outputs;
                blocks.push(block);
            }
        }
        let (dropout, head) = (builder.dropout(), Linear::new(builder, "fc", inputs, classes));
        Self { stem: first, pools: stem == Stem::Imagenet, blocks, dropout, head }
    }
}

impl Model for ResNet {
    fn forward(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError> {
        let (conv, norm) = &self.stem;
        let mut x = norm.forward(pass, &conv.forward(pass, &x)?, None, After::Relu)?;
        if self.pools {
            x = max_pool(&x, 3, 2, 1)?;
        }
        for block in &self.blocks {
            x = block.forward(pass, &x)?;
        }
        let x = stack_members(&global_average(&x)?, pass.width())?;
        self.head.forward(pass, &self.dropout.forward(pass, x)?)
    }
}

/// A convolution and its normalization: `{name}conv{index}` and `{name}bn{index}`.
struct Unit<'a> {
    name: &'a str,
    index: usize,
    inputs: i64,
    outputs: i64,
    kernel: i64,
    stride: i64,
}

impl Unit<'_> {
    fn build(self, builder: &mut Builder) -> (Conv2d, BatchNorm) {
        let Self { name, index, inputs, outputs, kernel, stride } = self;
        let geometry = Geometry { inputs, outputs, kernel, stride };
        let start = Initialization::kaiming_normal_fan_out(outputs, kernel);
        let conv = Conv2d::new(builder, &format!("{name}conv{index}"), geometry, start);
        (conv, BatchNorm::new(builder, &format!("{name}bn{index}"), outputs))
    }
}

/// Units with rectifiers in between, and a shortcut around them: projected where shapes differ.
#[derive(Debug)]
struct Residual {
    units: Vec<(Conv2d, BatchNorm)>,
    downsample: Option<(Conv2d, BatchNorm)>,
    outputs: i64,
}

impl Residual {
    fn new(builder: &mut Builder, name: &str, block: Block, inputs: i64, width: i64, stride: i64) -> Self {
        let (outputs, shapes) = match block {
            Block::Basic => (width, vec![(inputs, width, 3, stride), (width, width, 3, 1)]),
            Block::Bottleneck => {
                (4 * width, vec![(inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)])
            }
        };
        let unit = |(index, (inputs, outputs, kernel, stride))| {
            Unit { name, index, inputs, outputs, kernel, stride }.build(builder)
        };
        let units = (1..).zip(shapes).map(unit).collect();
        let projects = stride != 1 || inputs != outputs;
        let downsample = projects.then(|| {
            let geometry = Geometry { inputs, outputs, kernel: 1, stride };
            let start = Initialization::kaiming_normal_fan_out(outputs, 1);
            let conv = Conv2d::new(builder, &format!("{name}downsample.0"), geometry, start);
            (conv, BatchNorm::new(builder, &format!("{name}downsample.1"), outputs))
        });
        Self { units, downsample, outputs }
    }

    fn forward(&self, pass: &Pass, x: &Tensor) -> Result<Tensor, TchError> {
        let projected = match &self.downsample {
            Some((conv, norm)) => Some(norm.forward(pass, &conv.forward(pass, x)?, None, After::Nothing)?),
            None => None,
        };
        let shortcut = projected.as_ref().unwrap_or(x);
        let mut y = x.shallow_clone();
        for (index, (conv, norm)) in self.units.iter().enumerate() {
            let residual = (index + 1 == self.units.len()).then_some(shortcut);
            y = norm.forward(pass, &conv.forward(pass, &y)?, residual, After::Relu)?;
        }
        Ok(y)
    }
}
