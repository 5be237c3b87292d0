//! MNIST's format: a big-endian header (type and number of dimensions, then each dimension), then bytes.

use super::source::{Content, Source, check_limit};
use super::{DatasetError, Files, Half, Labels, MAX_PIXEL_BYTES, Outline, Pixels};

pub(super) const TRAIN_IMAGES: &[&str] = &["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"];
const TRAIN_LABELS: &[&str] = &["train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz"];
const TEST_IMAGES: &[&str] = &["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"];
const TEST_LABELS: &[&str] = &["t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz"];

/// Unsigned bytes in three dimensions, and in one.
const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;

/// Enough of a file to find its header in it, compressed or not.
const PREFIX_BYTES: u64 = 64 << 10;

fn names(half: Half) -> [&'static [&'static str]; 2] {
    match half {
        Half::Train => [TRAIN_IMAGES, TRAIN_LABELS],
        Half::Test => [TEST_IMAGES, TEST_LABELS],
    }
}

pub(super) fn outline(files: &dyn Files, half: Half) -> Result<Option<Outline>, DatasetError> {
    let [images, labels] = names(half);
    let Some(images) = Source::find(files, images)? else { return Ok(None) };
    let labels = images.sibling(labels)?;
    let prefix = images.prefix(PREFIX_BYTES)?;
    let [count, height, width] = header(&mut Content::new(&images, &prefix), images.name, "images", IMAGES_MAGIC)?;
    let values = read_labels(&labels)?;
    if u64::from(count) != values.len() as u64 {
        let (images_file, labels_file) = (images.name.to_owned(), labels.name.to_owned());
        let (images, labels) = (count.into(), values.len() as u64);
        return Err(DatasetError::CountMismatch { images_file, images, labels_file, labels });
    }
    let labels = Labels { file: labels.name.to_owned(), values, classes: None };
    Ok(Some(Outline { shape: [1, height as usize, width as usize], labels }))
}

pub(super) fn pixels(files: &dyn Files, half: Half, outline: &Outline) -> Result<Pixels, DatasetError> {
    let images = Source::find(files, names(half)[0])?.ok_or_else(|| DatasetError::Incomplete {
        name: names(half)[0][0].into(),
        present: outline.labels.file.clone(),
    })?;
    let bytes = images.whole()?;
    let mut content = Content::new(&images, &bytes);
    let dimensions: [u32; 3] = header(&mut content, images.name, "images", IMAGES_MAGIC)?;
    let length = product(images.name, "images", &dimensions)?;
    let pixels = content.take(length, "images")?;
    content.end(length, "images")?;
    Ok(Pixels::U8(pixels))
}

fn read_labels(source: &Source<'_>) -> Result<Vec<i64>, DatasetError> {
    let bytes = source.whole()?;
    let mut content = Content::new(source, &bytes);
    let [count] = header(&mut content, source.name, "labels", LABELS_MAGIC)?;
    let labels = content.take(count.into(), "labels")?;
    content.end(count.into(), "labels")?;
    Ok(labels.into_iter().map(i64::from).collect())
}

/// The dimensions, none of them 0 and their product within bounds.
fn header<const N: usize>(
    content: &mut Content<'_>,
    file: &str,
    what: &'static str,
    magic: u32,
) -> Result<[u32; N], DatasetError> {
    let found = word(&content.take(4, "header")?);
    if found != magic {
        return Err(DatasetError::WrongMagic { file: file.to_owned(), what, found, expected: magic });
    }
    let bytes = content.take(4 * N as u64, "header")?;
    let mut dimensions = [0; N];
    dimensions.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(dimension, bytes)| *dimension = word(bytes));
    product(file, what, &dimensions)?;
    Ok(dimensions)
}

fn product(file: &str, what: &'static str, dimensions: &[u32]) -> Result<u64, DatasetError> {
    let shape: Vec<u64> = dimensions.iter().map(|&dimension| dimension.into()).collect();
    if shape.contains(&0) {
        return Err(DatasetError::Empty { file: file.to_owned(), shape });
    }
    let bytes = shape.into_iter().fold(1u64, u64::saturating_mul);
    check_limit(file, what, bytes, MAX_PIXEL_BYTES)?;
    Ok(bytes)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |word, &byte| word << 8 | u32::from(byte))
}
