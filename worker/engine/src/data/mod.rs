//! Data sets on the device: decoded once, kept for the next task, handed out in batches.

mod batches;
mod folder;
mod host;
mod normalization;
mod selection;

pub use batches::{Batch, EvaluationBatches, TrainingBatches};
pub use normalization::Normalization;
pub use selection::Selection;

use std::path::Path;
use std::rc::Rc;

use ensemble::dataset::{self, DatasetError, Images, Pixels};
use ensemble::job;
use folder::{Folder, Stamp};
use tch::{Device, Kind, TchError, Tensor};

use crate::error::TaskError;
use crate::nn::InputShape;

/// Data sets kept at once. A slot mostly works for one job at a time, and device memory is dear.
const CACHED_MAX: usize = 2;

/// A data set on the device.
#[derive(Debug)]
pub struct Data {
    /// SHA-256 of the files' content.
    pub digest: String,
    /// Number of classes.
    pub classes: i64,
    /// One image.
    pub shape: InputShape,
    /// The training files, with the job's validation part.
    pub train: Part,
    /// The test files, if there are any.
    pub test: Option<Part>,
    normalizations: normalization::Cache,
}

/// Images and labels on the device.
#[derive(Debug)]
pub struct Part {
    /// `[N, H, W, C]`, u8 from 0 to 255, or f32 as the file has them.
    pub images: Tensor,
    /// `[N]`, i64.
    pub labels: Tensor,
    /// The labels once more, where splits are made.
    pub host_labels: Vec<u32>,
}

impl Data {
    /// The mean and standard deviation of each channel over `samples` of the training files.
    pub fn normalization(&self, samples: &[i64]) -> Result<Normalization, TchError> {
        self.normalizations.get(samples, || Normalization::of(&self.train.images, samples))
    }
}

impl Part {
    fn new(part: dataset::Part, device: Device) -> Result<Self, TchError> {
        let images = images_on(&part.images, device)?;
        let labels: Vec<i64> = part.labels.iter().map(|&label| label.into()).collect();
        Ok(Self { images, labels: Tensor::f_from_slice(&labels)?.f_to_device(device)?, host_labels: part.labels })
    }

    /// All samples, in order.
    pub fn everything(&self) -> Vec<i64> {
        (0..self.host_labels.len() as i64).collect()
    }
}

/// Channels go last, as convolutions want them.
fn images_on(images: &Images, device: Device) -> Result<Tensor, TchError> {
    let [channels, height, width] = images.shape.map(|size| size as i64);
    let shape = [images.count as i64, channels, height, width];
    let pixels = match &images.pixels {
        Pixels::U8(pixels) => Tensor::f_from_data_size(pixels, &shape, Kind::Uint8)?,
        Pixels::F32(pixels) => Tensor::f_from_slice(pixels)?.f_view(shape)?,
    };
    pixels.f_to_device(device)?.f_permute([0, 2, 3, 1])?.f_contiguous()
}

/// The data sets that this engine has decoded last.
#[derive(Debug)]
pub struct DataCache {
    device: Device,
    /// The newest last.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    source: job::Data,
    stamp: Stamp,
    data: Rc<Data>,
}

impl DataCache {
    /// An empty cache of data on `device`.
    pub fn new(device: Device) -> Self {
        Self { device, entries: Vec::new() }
    }

    /// The data set that a job names: from the cache where its files are as they were, else decoded.
    pub fn load(&mut self, source: &job::Data) -> Result<Rc<Data>, TaskError> {
        let folder = Folder::new(Path::new(&source.path));
        let known = self.entries.iter().position(|entry| is_same_source(&entry.source, source));
        let known = known.map(|place| self.entries.remove(place));
        let entry = match known.filter(|entry| folder.is_unchanged_since(&entry.stamp)) {
            Some(entry) => entry,
            None => self.read(source, &folder)?,
        };
        let data = Rc::clone(&entry.data);
        self.entries.push(entry);
        Ok(data)
    }

    /// Makes room first: two data sets may not fit where one does.
    fn read(&mut self, source: &job::Data, folder: &Folder) -> Result<Entry, TaskError> {
        while self.entries.len() >= CACHED_MAX {
            self.entries.remove(0);
        }
        let wrong = |error| TaskError::Data { folder: source.path.clone().into(), source: error };
        let decoded = dataset::read(source.format, source.classes, folder).map_err(wrong)?;
        let stamp = folder.stamp();
        let digest = folder.digest().map_err(|error| wrong(unreadable(&error)))?;
        let [channels, height, width] = decoded.train.images.shape.map(|size| size as i64);
        let data = Data {
            digest,
            classes: decoded.classes.into(),
            shape: InputShape { channels, height, width },
            train: Part::new(decoded.train, self.device)?,
            test: decoded.test.map(|test| Part::new(test, self.device)).transpose()?,
            normalizations: normalization::Cache::default(),
        };
        Ok(Entry { source: source.clone(), stamp, data: Rc::new(data) })
    }
}

/// What is held out and what classes are called changes nothing about the files.
fn is_same_source(one: &job::Data, other: &job::Data) -> bool {
    (&one.path, one.format, one.classes) == (&other.path, other.format, other.classes)
}

fn unreadable(error: &std::io::Error) -> DatasetError {
    DatasetError::Unreadable { file: "the data".to_owned(), reason: error.to_string() }
}
