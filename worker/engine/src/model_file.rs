//! What a model file says of itself: enough to predict with it, and where it comes from.

use std::path::Path;

use ensemble::job::Model;
use ensemble::run::{ModelKind, Run};

use crate::artifact::{self, ArtifactError, Metadata, Tensors, parsed};
use crate::data::Normalization;
use crate::error::TaskError;
use crate::nn::InputShape;

/// What a model file must say to be predicted with.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    /// The network.
    pub model: Model,
    /// Classes that it tells apart.
    pub classes: i64,
    /// One image.
    pub shape: InputShape,
    /// What is done to pixels before the network sees them.
    pub normalization: Normalization,
}

/// All that a model file says of itself. Every note is text, by the name that the field has here.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The job's name.
    pub job: String,
    /// The run that it comes from.
    pub run: Run,
    /// Which of the run's models it is.
    pub kind: ModelKind,
    /// Steps of the run behind it.
    pub step: u64,
    /// The SHA-256 of the data set.
    pub data_digest: String,
    /// How to predict with it.
    pub interface: Interface,
}

impl Card {
    fn to_metadata(&self) -> Metadata {
        let json = |value: serde_json::Result<String>| value.expect("runs, kinds and models are plain data");
        let origin = [
            ("job", self.job.clone()),
            ("run", json(serde_json::to_string(&self.run))),
            ("kind", json(serde_json::to_string(&self.kind))),
            ("step", self.step.to_string()),
            ("data_digest", self.data_digest.clone()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let notes = origin.into_iter().chain(self.interface.notes());
        notes.map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl Interface {
    fn notes(&self) -> [(&'static str, String); 5] {
        let InputShape { channels, height, width } = self.shape;
        let [mean, std] = self.normalization.to_text();
        [
            ("model", serde_json::to_string(&self.model).expect("models are plain data")),
            ("classes", self.classes.to_string()),
            ("shape", format!("{channels},{height},{width}")),
            ("mean", mean),
            ("std", std),
        ]
    }

    /// An average of models that the coordinator made keeps only those notes that they share, and these are enough.
    fn from_metadata(notes: &Metadata) -> Result<Self, ArtifactError> {
        let shape = parsed(notes, "shape", parse_shape)?;
        let [mean, std] = ["mean", "std"].map(|key| parsed(notes, key, parse_numbers));
        let normalization = Normalization { mean: mean?, std: std? };
        check_normalization(notes, &normalization, shape)?;
        let model = parsed(notes, "model", |text| serde_json::from_str(text))?;
        Ok(Self { model, classes: parsed(notes, "classes", str::parse)?, shape, normalization })
    }
}

fn parse_shape(text: &str) -> Result<InputShape, String> {
    let sizes: Result<Vec<i64>, _> = text.split(',').map(str::parse).collect();
    match sizes.map_err(|error: std::num::ParseIntError| error.to_string())?[..] {
        [channels, height, width] => Ok(InputShape { channels, height, width }),
        _ => Err("three sizes are expected: channels, height, width".to_owned()),
    }
}

fn parse_numbers(text: &str) -> Result<Vec<f64>, std::num::ParseFloatError> {
    text.split(',').map(str::parse).collect()
}

fn check_normalization(notes: &Metadata, found: &Normalization, shape: InputShape) -> Result<(), ArtifactError> {
    let each_channel = |values: &[f64]| values.len() as i64 == shape.channels && values.iter().all(|v| v.is_finite());
    let bad = |key, reason: &str| {
        let value = notes.get(key).cloned().unwrap_or_default();
        Err(ArtifactError::BadNote { key, value, reason: reason.to_owned() })
    };
    if !each_channel(&found.mean) {
        return bad("mean", "one finite number for each channel is expected");
    }
    if !each_channel(&found.std) || found.std.iter().any(|&std| std <= 0.0) {
        return bad("std", "one number above 0 for each channel is expected");
    }
    Ok(())
}

/// Writes a model file.
pub fn write(path: &Path, tensors: &Tensors, card: &Card) -> Result<(), TaskError> {
    artifact::write(path, tensors, &card.to_metadata())
        .map_err(|source| TaskError::Artifact { path: path.into(), source })
}

/// Writes a model file with notes from another, and one more.
pub fn write_changed(path: &Path, tensors: &Tensors, notes: &Metadata, note: (&str, &str)) -> Result<(), TaskError> {
    let mut notes = notes.clone();
    notes.insert(note.0.to_owned(), note.1.to_owned());
    artifact::write(path, tensors, &notes).map_err(|source| TaskError::Artifact { path: path.into(), source })
}

/// A model file's content.
#[derive(Debug)]
pub struct ModelFile {
    /// The weights.
    pub tensors: Tensors,
    /// How to predict with it.
    pub interface: Interface,
    /// All of its notes, as they are.
    pub notes: Metadata,
}

/// Reads a model file.
pub fn read(path: &Path) -> Result<ModelFile, TaskError> {
    let read = || {
        let (tensors, notes) = artifact::read(path)?;
        Ok(ModelFile { interface: Interface::from_metadata(&notes)?, tensors, notes })
    };
    read().map_err(|source| TaskError::Artifact { path: path.into(), source })
}
