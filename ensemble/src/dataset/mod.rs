//! Data sets as bytes: parsers of the formats that a job may name, and seeded splits.
//!
//! Nothing here opens a file: [`Files`] gives the bytes, so that a folder, an object store and a test look the same.
//! [`read`] decodes everything; [`summarize`] looks at headers and labels alone. Every size that a header announces is
//! held against the bytes that are there before memory is asked for, compressed files included.

mod cifar;
mod error;
mod idx;
mod source;
mod split;
mod tensors;

pub use error::DatasetError;
pub use source::Files;
pub use split::{Split, fold, validation};

use crate::job::{DataSummary, Format};

/// The most classes a data set may have. ImageNet-21k has 21,841.
pub const MAX_CLASSES: u32 = 1 << 20;

/// The most bytes that the decoded pixels of one part may have.
pub const MAX_PIXEL_BYTES: u64 = 64 << 30;

/// A whole data set, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The training files, with the samples that a job holds out for validation.
    pub train: Part,
    /// The test files, if there are any.
    pub test: Option<Part>,
    /// Every label is below this.
    pub classes: u32,
}

/// Images and the class of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// N images.
    pub images: Images,
    /// N classes.
    pub labels: Vec<u32>,
}

/// N images of one size, row-major `[N, C, H, W]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// N.
    pub count: usize,
    /// C, H and W.
    pub shape: [usize; 3],
    /// N·C·H·W values.
    pub pixels: Pixels,
}

/// Pixel values.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// From 0 to 255.
    U8(Vec<u8>),
    /// As the file has them, by custom from 0 to 1.
    F32(Vec<f32>),
}

/// One half of a data set's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Train,
    Test,
}

/// What the headers and labels of a half say.
#[derive(Clone, Debug, PartialEq)]
struct Outline {
    shape: [usize; 3],
    labels: Labels,
}

/// The label of each sample, not yet held against a number of classes, and where they were read.
#[derive(Clone, Debug, PartialEq)]
struct Labels {
    file: String,
    values: Vec<i64>,
    /// The number of classes, where the format itself says it.
    classes: Option<u32>,
}

/// Decodes a data set. `classes` is the job's number of classes; where it says none, the format's or else the largest
/// training label decides.
///
/// # Errors
/// The first thing that is wrong, with the file, what was found and what was expected.
pub fn read(format: Format, classes: Option<u32>, files: &dyn Files) -> Result<Dataset, DatasetError> {
    let outlines = Outlines::read(format, classes, files)?;
    let part = |half, outline: Outline| {
        let pixels = pixels(format, half, &outline, files)?;
        let labels: Vec<u32> = outline.labels.values.iter().map(|&label| label as u32).collect();
        Ok(Part { images: Images { count: labels.len(), shape: outline.shape, pixels }, labels })
    };
    Ok(Dataset {
        train: part(Half::Train, outlines.train)?,
        test: outlines.test.map(|outline| part(Half::Test, outline)).transpose()?,
        classes: outlines.classes,
    })
}

/// Looks at headers and labels alone: what a job can be checked against before it runs.
///
/// # Errors
/// As [`read`], but for damage among the pixels.
pub fn summarize(format: Format, classes: Option<u32>, files: &dyn Files) -> Result<DataSummary, DatasetError> {
    let Outlines { train, test, classes } = Outlines::read(format, classes, files)?;
    let mut counts = vec![0; classes as usize];
    train.labels.values.iter().for_each(|&label| counts[label as usize] += 1);
    Ok(DataSummary {
        train: train.labels.values.len(),
        test: test.map_or(0, |test| test.labels.values.len()),
        classes: classes as usize,
        shape: train.shape,
        rarest_class: counts.into_iter().min().unwrap_or(0),
    })
}

/// Both halves' outlines, agreeing with one another and with the number of classes.
struct Outlines {
    train: Outline,
    test: Option<Outline>,
    classes: u32,
}

impl Outlines {
    fn read(format: Format, classes: Option<u32>, files: &dyn Files) -> Result<Self, DatasetError> {
        let outline = |half| match format {
            Format::Idx => idx::outline(files, half),
            Format::Cifar => cifar::outline(files, half),
            Format::Safetensors => tensors::outline(files, half),
        };
        let train = outline(Half::Train)?.ok_or_else(|| DatasetError::Missing { names: first_names(format) })?;
        let test = outline(Half::Test)?;
        let classes = train.labels.count_classes(classes)?;
        if let Some(test) = &test {
            test.labels.check(classes)?;
            same_shape(&train, test)?;
        }
        Ok(Self { train, test, classes })
    }
}

fn pixels(format: Format, half: Half, outline: &Outline, files: &dyn Files) -> Result<Pixels, DatasetError> {
    match format {
        Format::Idx => idx::pixels(files, half, outline),
        Format::Cifar => cifar::pixels(files, half),
        Format::Safetensors => tensors::pixels(files, half),
    }
}

/// By which file a format is recognized: one of these must be there.
fn first_names(format: Format) -> &'static [&'static str] {
    match format {
        Format::Idx => idx::TRAIN_IMAGES,
        Format::Cifar => cifar::FIRST_NAMES,
        Format::Safetensors => &["train.safetensors"],
    }
}

fn same_shape(train: &Outline, test: &Outline) -> Result<(), DatasetError> {
    if train.shape == test.shape {
        return Ok(());
    }
    let (file, expected, found) = (test.labels.file.clone(), train.shape, test.shape);
    Err(DatasetError::ShapesDiffer { file, expected, found })
}

impl Labels {
    fn count_classes(&self, given: Option<u32>) -> Result<u32, DatasetError> {
        let classes = given
            .or(self.classes)
            .unwrap_or_else(|| self.largest().saturating_add(1).clamp(1, MAX_CLASSES.into()) as u32);
        self.check(classes)?;
        Ok(classes)
    }

    fn largest(&self) -> i64 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    fn check(&self, classes: u32) -> Result<(), DatasetError> {
        let Some(index) = self.values.iter().position(|label| !(0..i64::from(classes)).contains(label)) else {
            return Ok(());
        };
        Err(DatasetError::LabelOutOfRange { file: self.file.clone(), index, label: self.values[index], classes })
    }
}
