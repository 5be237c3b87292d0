//! The built-in architectures, by torchvision's names where torchvision has them.

mod cnn;
mod mlp;
mod resnet;
mod wide_resnet;

use std::fmt::Debug;

use ensemble::job::{Architecture, Model as Specification};
use tch::{TchError, Tensor};

use super::layers::{Builder, Pass};
use super::{InputShape, NetworkError, within};

/// A network's structure: layers that refer to parameters of an arena.
pub trait Model: Debug + Send {
    /// Logits `[M, B, classes]` for images `[B, M·C, H, W]`, channels-last.
    fn forward(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError>;
}

/// Builds the architecture that a job asks for and registers its parameters.
pub fn build(
    model: &Specification,
    builder: &mut Builder,
    input: InputShape,
    classes: i64,
) -> Result<Box<dyn Model>, NetworkError> {
    let residual =
        |builder: &mut Builder, plan| resnet::ResNet::new(builder, plan, model.stem, input.channels, classes);
    Ok(match &model.architecture {
        Architecture::Mlp(mlp) => Box::new(mlp::Mlp::new(builder, &hidden_sizes(&mlp.hidden)?, input, classes)),
        Architecture::Cnn => Box::new(small_cnn(builder, input, classes)?),
        Architecture::ResNet18 => Box::new(residual(builder, resnet::RESNET18)),
        Architecture::ResNet34 => Box::new(residual(builder, resnet::RESNET34)),
        Architecture::ResNet50 => Box::new(residual(builder, resnet::RESNET50)),
        Architecture::WideResNet(wide) => {
            let (depth, factor) = (i64::from(wide.depth), i64::from(wide.widen_factor));
            Box::new(wide_resnet::WideResNet::new(builder, depth, factor, input.channels, classes)?)
        }
    })
}

fn hidden_sizes(hidden: &[u32]) -> Result<Vec<i64>, NetworkError> {
    within("hidden layers", hidden.len() as i64, 0, 64, "0 to 64")?;
    for &size in hidden {
        within("hidden layer size", i64::from(size), 1, 1 << 16, "1 to 65536")?;
    }
    Ok(hidden.iter().copied().map(i64::from).collect())
}

/// Two halvings must leave at least one pixel.
fn small_cnn(builder: &mut Builder, input: InputShape, classes: i64) -> Result<cnn::Cnn, NetworkError> {
    within("input height for cnn", input.height, 4, 1 << 14, "4 to 16384")?;
    within("input width for cnn", input.width, 4, 1 << 14, "4 to 16384")?;
    Ok(cnn::Cnn::new(builder, input.channels, classes))
}
