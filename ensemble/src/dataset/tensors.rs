//! Data as safetensors: `x` `[N, C, H, W]` (u8 or f32) and `y` `[N]` (u8 or i64).

use super::source::{Source, check_limit};
use super::{DatasetError, Files, Half, Labels, MAX_PIXEL_BYTES, Outline, Pixels};
use crate::average::{Dtype, Header, Tensor};

const X_EXPECTED: &str = "`[N, C, H, W]` of U8 or F32";
const Y_EXPECTED: &str = "`[N]` of U8 or I64";

fn names(half: Half) -> &'static [&'static str] {
    match half {
        Half::Train => &["train.safetensors"],
        Half::Test => &["test.safetensors"],
    }
}

pub(super) fn outline(files: &dyn Files, half: Half) -> Result<Option<Outline>, DatasetError> {
    let Some(source) = Source::find(files, names(half))? else { return Ok(None) };
    let header = header(&source)?;
    let [x, y] = [images(&source, &header)?, labels(&source, &header)?];
    if x.shape[0] != y.shape[0] {
        let (images, labels) = (x.shape[0] as u64, y.shape[0] as u64);
        let [images_file, labels_file] = [&x, &y].map(|tensor| format!("`{}` of {}", tensor.name, source.name));
        return Err(DatasetError::CountMismatch { images_file, images, labels_file, labels });
    }
    let bytes = source.range(y.offset..y.offset + y.bytes, "labels")?;
    let values = if y.dtype == Dtype::U8 { bytes.into_iter().map(i64::from).collect() } else { words(&bytes) };
    let labels = Labels { file: source.name.to_owned(), values, classes: None };
    Ok(Some(Outline { shape: [x.shape[1], x.shape[2], x.shape[3]], labels }))
}

pub(super) fn pixels(files: &dyn Files, half: Half) -> Result<Pixels, DatasetError> {
    let source = Source::find(files, names(half))?.ok_or(DatasetError::Missing { names: names(half) })?;
    let x = images(&source, &header(&source)?)?;
    let bytes = source.range(x.offset..x.offset + x.bytes, "images")?;
    if x.dtype == Dtype::U8 { Ok(Pixels::U8(bytes)) } else { Ok(Pixels::F32(finite_floats(source.name, &bytes)?)) }
}

fn header(source: &Source<'_>) -> Result<Header, DatasetError> {
    let damaged = |reason: String| DatasetError::Header { file: source.name.to_owned(), reason };
    let prefix = source.range(0..8, "header")?.try_into().map_err(|_| source.truncated("header", 8, source.length))?;
    let json_bytes = Header::json_bytes(prefix).map_err(|error| damaged(error.to_string()))?;
    let json = source.range(8..8 + json_bytes as u64, "header")?;
    Header::parse(&json, source.length).map_err(|error| damaged(error.to_string()))
}

fn images(source: &Source<'_>, header: &Header) -> Result<Tensor, DatasetError> {
    let fits = |x: &Tensor| x.shape.len() == 4 && matches!(x.dtype, Dtype::U8 | Dtype::F32);
    let x = find(source, header, "x", X_EXPECTED, fits)?;
    check_limit(source.name, "images", x.bytes, MAX_PIXEL_BYTES)?;
    Ok(x)
}

fn labels(source: &Source<'_>, header: &Header) -> Result<Tensor, DatasetError> {
    find(source, header, "y", Y_EXPECTED, |y| y.shape.len() == 1 && matches!(y.dtype, Dtype::U8 | Dtype::I64))
}

fn find(
    source: &Source<'_>,
    header: &Header,
    name: &'static str,
    expected: &'static str,
    fits: impl Fn(&Tensor) -> bool,
) -> Result<Tensor, DatasetError> {
    let file = source.name.to_owned();
    let wrong = |found| DatasetError::WrongTensor { file: file.clone(), name, found, expected };
    let tensor = header.tensors().iter().find(|tensor| tensor.name == name).ok_or_else(|| wrong("missing".into()))?;
    if !fits(tensor) {
        return Err(wrong(format!("{:?} of {:?}", tensor.shape, tensor.dtype)));
    }
    if tensor.shape.contains(&0) {
        return Err(DatasetError::Empty { file, shape: tensor.shape.iter().map(|&size| size as u64).collect() });
    }
    Ok(tensor.clone())
}

fn words(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|word| i64::from_le_bytes(*word)).collect()
}

fn finite_floats(file: &str, bytes: &[u8]) -> Result<Vec<f32>, DatasetError> {
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(DatasetError::NotFinite { file: file.to_owned(), index, value: values[index].to_string() }),
        None => Ok(values),
    }
}
