//! The `model` section: the network that every member has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An architecture and its stem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Which network.
    pub architecture: Architecture,
    /// How a ResNet begins. Other architectures have one beginning only and leave it out.
    #[serde(default)]
    pub stem: Stem,
}

/// A built-in architecture. Parameter names are torchvision's where torchvision has the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// A multi-layer perceptron on flattened pixels.
    Mlp(Mlp),
    /// A small convolutional network of about 100,000 parameters, for images up to 64 pixels wide.
    Cnn,
    /// ResNet-18 (He et al. 2016, arXiv:1512.03385).
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-34.
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// A wide residual network (Zagoruyko and Komodakis 2016, arXiv:1605.07146).
    #[serde(rename = "wide_resnet")]
    WideResNet(WideResNet),
}

/// The hidden layers of a multi-layer perceptron.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mlp {
    /// Units of each hidden layer, from the input to the output.
    pub hidden: Vec<u32>,
}

impl Default for Mlp {
    fn default() -> Self {
        Self { hidden: vec![256, 128] }
    }
}

/// The size of a wide residual network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WideResNet {
    /// Layers: 6n + 4, such as 16, 28 or 40.
    pub depth: u32,
    /// How many times wider than the thin network.
    pub widen_factor: u32,
}

impl Default for WideResNet {
    fn default() -> Self {
        Self { depth: 28, widen_factor: 10 }
    }
}

/// How a ResNet begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A 3×3 convolution of stride 1 and no pooling, for images of about 32 pixels.
    #[default]
    Cifar,
    /// A 7×7 convolution of stride 2 and a max-pool, for images of about 224 pixels.
    Imagenet,
}
