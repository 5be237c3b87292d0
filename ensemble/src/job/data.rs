//! The `data` section: what the members learn from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the data lies, in which format, and how much of the training part is held out for validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// How the files are written.
    pub format: Format,
    /// The folder (or, for `safetensors`, the folder with `train.safetensors` and `test.safetensors`). A relative path
    /// is relative to the job file.
    pub path: String,
    /// The share of the training samples held out for validation, class by class: at least 0, below 1.
    #[serde(default = "one_tenth")]
    pub validation: f64,
    /// The number of classes; counted from the training labels if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<u32>,
    /// What the classes are called, from class 0 on; shown beside predictions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
}

fn one_tenth() -> f64 {
    0.1
}

/// A format of image data with labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// MNIST's format: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-…`, plain or with `.gz`.
    Idx,
    /// CIFAR's binary format: `data_batch_1.bin` … `test_batch.bin` (CIFAR-10), or `train.bin` and `test.bin` (CIFAR-100).
    Cifar,
    /// `train.safetensors` and `test.safetensors`, each with `x` (`[N,C,H,W]`, u8 or f32) and `y` (`[N]`, u8 or i64).
    Safetensors,
}

/// What the data turned out to be, before any of it is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Samples in the training files, the validation part among them.
    pub train: usize,
    /// Samples in the test files.
    pub test: usize,
    /// Classes.
    pub classes: usize,
    /// Channels, height and width of one image.
    pub shape: [usize; 3],
    /// Training samples of the rarest class.
    pub rarest_class: usize,
}
