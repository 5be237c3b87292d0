//! Single files with images or labels: IDX (plain or gzip) or safetensors, told apart by their first bytes.

use crate::exit::Usage;
use anyhow::Result;
use ensemble::dataset::{Images, Pixels};
use flate2::read::MultiGzDecoder;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// A file that holds more than this, decompressed, is refused: asking about it would take hours.
const FILE_BYTES_MAX: u64 = 4 << 30;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// IDX: unsigned bytes in three dimensions, and in one.
const IDX_IMAGES: u32 = 0x0803;
const IDX_LABELS: u32 = 0x0801;

/// Images, and the true class of each where it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Pictures {
    pub images: Images,
    pub labels: Option<Vec<u32>>,
}

impl Pictures {
    /// Some of the images, by their numbers.
    ///
    /// # Errors
    /// There is no such image; as [`Usage`].
    pub fn pick(&self, picked: &[usize]) -> Result<Self> {
        let count = self.images.count;
        if let Some(beyond) = picked.iter().find(|&&index| index >= count) {
            return Err(Usage(format!(
                "there is no image {beyond}; they are numbered from 0 to {}",
                count.saturating_sub(1)
            ))
            .into());
        }
        let values: usize = self.images.shape.iter().product();
        let pixels = match &self.images.pixels {
            Pixels::U8(all) => Pixels::U8(chosen(all, values, picked)),
            Pixels::F32(all) => Pixels::F32(chosen(all, values, picked)),
        };
        let images = Images { count: picked.len(), shape: self.images.shape, pixels };
        let labels = self.labels.as_ref().map(|labels| chosen(labels, 1, picked));
        Ok(Self { images, labels })
    }
}

fn chosen<T: Copy>(all: &[T], each: usize, picked: &[usize]) -> Vec<T> {
    picked.iter().flat_map(|&index| all[index * each..(index + 1) * each].iter().copied()).collect()
}

/// Reads images, and labels from a file of their own or from the `y` beside the images' `x`.
///
/// # Errors
/// A file is missing, damaged or of another kind, or there is not one label for each image; as [`Usage`].
pub fn read(images: &Path, labels: Option<&Path>) -> Result<Pictures> {
    let mut pictures = read_images(images)?;
    if let Some(file) = labels {
        pictures.labels = Some(read_labels(file)?);
    }
    match &pictures.labels {
        Some(labels) if labels.len() != pictures.images.count => {
            let (images, labels) = (pictures.images.count, labels.len());
            Err(Usage(format!("there are {images} images, but {labels} labels")).into())
        }
        _ => Ok(pictures),
    }
}

fn read_images(file: &Path) -> Result<Pictures> {
    let bytes = content(file)?;
    let pictures = match idx::<3>(&bytes, IDX_IMAGES) {
        Some(Ok(([count, height, width], pixels))) => {
            let images = Images { count, shape: [1, height, width], pixels: Pixels::U8(pixels.to_vec()) };
            Ok(Pictures { images, labels: None })
        }
        Some(Err(reason)) => Err(reason),
        None => tensors(&bytes),
    };
    pictures.map_err(|reason| Usage(format!("{}: {reason}", file.display())).into())
}

fn read_labels(file: &Path) -> Result<Vec<u32>> {
    let bytes = content(file)?;
    let labels = match idx::<1>(&bytes, IDX_LABELS) {
        Some(Ok((_, labels))) => Ok(labels.iter().map(|&label| label.into()).collect()),
        Some(Err(reason)) => Err(reason),
        None => parse_tensors(&bytes).and_then(|tensors| classes(&tensors)?.ok_or("it holds no tensor `y`".into())),
    };
    labels.map_err(|reason| Usage(format!("{}: {reason}", file.display())).into())
}

/// The bytes of a file, decompressed if they are gzip's, and never more than [`FILE_BYTES_MAX`] of them.
fn content(file: &Path) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| Usage(format!("cannot read {}: {error}", file.display()));
    let mut reader = BufReader::new(File::open(file).map_err(unreadable)?);
    let mut bytes = Vec::new();
    if std::io::BufRead::fill_buf(&mut reader).map_err(unreadable)?.starts_with(&GZIP_MAGIC) {
        MultiGzDecoder::new(reader).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Usage(format!("{} holds more than {} GiB", file.display(), FILE_BYTES_MAX >> 30)).into());
    }
    Ok(bytes)
}

type Idx<'a, const N: usize> = ([usize; N], &'a [u8]);

/// The sizes and bytes of an IDX file of `N` dimensions; `None` if the file is of another kind.
fn idx<const N: usize>(bytes: &[u8], magic: u32) -> Option<Result<Idx<'_, N>, String>> {
    let (words, _) = bytes.as_chunks::<4>();
    if words.first() != Some(&magic.to_be_bytes()) {
        return None;
    }
    let header = 4 * (N + 1);
    let mut sizes = [0; N];
    for (size, word) in sizes.iter_mut().zip(words.iter().skip(1)) {
        *size = u32::from_be_bytes(*word) as usize;
    }
    let expected = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    match (expected, bytes.get(header..)) {
        (Some(expected), Some(content)) if expected == content.len() && expected > 0 => Some(Ok((sizes, content))),
        _ => Some(Err(format!("its header says {sizes:?}, but {} bytes follow", bytes.len().saturating_sub(header)))),
    }
}

fn parse_tensors(bytes: &[u8]) -> Result<SafeTensors<'_>, String> {
    SafeTensors::deserialize(bytes).map_err(|error| format!("neither an IDX file nor safetensors ({error})"))
}

fn tensors(bytes: &[u8]) -> Result<Pictures, String> {
    let tensors = parse_tensors(bytes)?;
    let x = tensors.tensor("x").map_err(|_| "it holds no tensor `x`".to_owned())?;
    let &[count, channels, height, width] = x.shape() else {
        return Err(format!("`x` has the shape {:?}; [N, C, H, W] is expected", x.shape()));
    };
    let pixels = pixels(&x)?;
    Ok(Pictures { images: Images { count, shape: [channels, height, width], pixels }, labels: classes(&tensors)? })
}

fn pixels(x: &TensorView<'_>) -> Result<Pixels, String> {
    match x.dtype() {
        _ if x.data().is_empty() => Err(format!("`x` is empty: {:?}", x.shape())),
        Dtype::U8 => Ok(Pixels::U8(x.data().to_vec())),
        Dtype::F32 => Ok(Pixels::F32(x.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect())),
        other => Err(format!("`x` is of type {other:?}; U8 or F32 is expected")),
    }
}

fn classes(tensors: &SafeTensors<'_>) -> Result<Option<Vec<u32>>, String> {
    let Ok(y) = tensors.tensor("y") else { return Ok(None) };
    let class = |value: i64| u32::try_from(value).map_err(|_| format!("`y` holds {value}, which is no class"));
    match y.dtype() {
        Dtype::U8 => Ok(Some(y.data().iter().map(|&label| label.into()).collect())),
        Dtype::I64 => {
            let words = y.data().as_chunks().0.iter();
            words.map(|word| class(i64::from_le_bytes(*word))).collect::<Result<_, _>>().map(Some)
        }
        other => Err(format!("`y` is of type {other:?}; U8 or I64 is expected")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    const IMAGES: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20, 30, 40];
    const LABELS: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 2, 7, 9];

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn expected() -> Pictures {
        let images = Images { count: 2, shape: [1, 1, 2], pixels: Pixels::U8(vec![10, 20, 30, 40]) };
        Pictures { images, labels: Some(vec![7, 9]) }
    }

    #[test]
    fn idx_is_read_plain_and_compressed() {
        let labels = file(LABELS);
        for bytes in [IMAGES.to_vec(), gzip(IMAGES)] {
            assert_eq!(read(file(&bytes).path(), Some(labels.path())).unwrap(), expected());
        }
    }

    #[test]
    fn safetensors_bring_their_labels_along() {
        let x = TensorView::new(Dtype::U8, vec![2, 1, 1, 2], &[10, 20, 30, 40]).unwrap();
        let y_bytes: Vec<u8> = [7i64, 9].iter().flat_map(|label| label.to_le_bytes()).collect();
        let y = TensorView::new(Dtype::I64, vec![2], &y_bytes).unwrap();
        let bytes = safetensors::serialize([("x", x), ("y", y)], None).unwrap();
        assert_eq!(read(file(&bytes).path(), None).unwrap(), expected());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_reason() {
        let check = |bytes: &[u8], labels: Option<&[u8]>, reason: &str| {
            let labels = labels.map(file);
            let error = read(file(bytes).path(), labels.as_ref().map(|file| file.path())).unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains(reason), "{error}");
        };
        check(&IMAGES[..19], None, "its header says [2, 1, 2], but 3 bytes follow");
        check(&gzip(IMAGES)[..20], None, "cannot read");
        check(b"no images", None, "neither an IDX file nor safetensors");
        check(IMAGES, Some(&[0, 0, 8, 1, 0, 0, 0, 1, 7]), "there are 2 images, but 1 labels");
        check(&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], None, "its header says");
        assert!(read(Path::new("/no/such/file"), None).unwrap_err().to_string().contains("/no/such/file"));
    }
}
