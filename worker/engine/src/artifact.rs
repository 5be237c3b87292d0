//! Model files and checkpoints on disk: named tensors and text, as safetensors.
//!
//! The header is written by `ensemble::average`, whose bytes are the same every time: an artifact's name is its digest,
//! so a run that is done again must give the same file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ensemble::average::{self, Dtype, Header};
use tch::{Device, Kind, TchError, Tensor};

/// Tensors by name, on the CPU.
pub type Tensors = Vec<(String, Tensor)>;

/// Text beside the tensors.
pub type Metadata = BTreeMap<String, String>;

/// A larger file is no model of ours: 16 GiB of weights and as much again for each of several averages.
const FILE_BYTES_MAX: u64 = 256 << 30;

/// Why a model file or checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no safetensors file, or damaged.
    #[error("{0}; it may be damaged")]
    Header(String),
    /// It is larger than any model.
    #[error("it has {bytes} bytes, more than the {FILE_BYTES_MAX} allowed")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// A tensor is of a type that no artifact of ours has.
    #[error("tensor {name} is of type {dtype:?}, which no model or checkpoint has")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A note that every such file has is missing.
    #[error("its metadata has no `{0}`: it was not written by this program")]
    MissingNote(&'static str),
    /// A note makes no sense.
    #[error("its metadata says `{value}` for `{key}`: {reason}")]
    BadNote {
        /// The note.
        key: &'static str,
        /// What it says.
        value: String,
        /// Why that cannot be.
        reason: String,
    },
    /// libtorch refused.
    #[error(transparent)]
    Libtorch(#[from] TchError),
}

/// Writes a file that is either complete or not there: under a temporary name, then renamed. It is not synced: it only waits
/// here for its way to the store, which believes no byte before it has its digest, and syncs.
pub fn write(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<(), ArtifactError> {
    let temporary = path.with_extension("partial");
    let mut file = io::BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
    write_to(&mut file, tensors, metadata)?;
    file.flush()?;
    Ok(std::fs::rename(&temporary, path)?)
}

fn write_to(out: &mut impl Write, tensors: &Tensors, metadata: &Metadata) -> Result<(), ArtifactError> {
    let entries: Vec<_> = tensors.iter().map(|(name, tensor)| entry(name, tensor)).collect();
    out.write_all(&average::write_header(&entries, metadata))?;
    tensors.iter().try_for_each(|(_, tensor)| write_elements(out, tensor))
}

/// Writes a tensor's elements in the order of its shape. No tensor operation does this work, for those take all cores, and
/// a checkpoint is written while they train.
fn write_elements(out: &mut impl Write, tensor: &Tensor) -> Result<(), ArtifactError> {
    match Lying::of(tensor)? {
        Lying::AsShaped(tensor) => out.write_all(bytes(&tensor))?,
        Lying::ChannelsLast(tensor) => {
            let [channels, element] = [tensor.size()[3] as usize, tensor.kind().elt_size_in_bytes()];
            let image = (tensor.size()[1] * tensor.size()[2]) as usize * channels * element;
            let mut turned = Vec::with_capacity(image);
            for image in bytes(&tensor).chunks_exact(image.max(1)) {
                turned.clear();
                for channel in 0..channels {
                    let pixels = image.chunks_exact(channels * element);
                    pixels.for_each(|pixel| turned.extend_from_slice(&pixel[channel * element..][..element]));
                }
                out.write_all(&turned)?;
            }
        }
    }
    Ok(())
}

/// How the elements of a tensor on the host lie in memory, without a gap.
enum Lying {
    /// In the order of its shape.
    AsShaped(Tensor),
    /// `[O, I, H, W]` as `[O, H, W, I]`, which is how this one is shaped.
    ChannelsLast(Tensor),
}

impl Lying {
    fn of(tensor: &Tensor) -> Result<Self, TchError> {
        if tensor.is_contiguous() {
            return Ok(Self::AsShaped(tensor.shallow_clone()));
        }
        if tensor.dim() == 4 {
            let channels_last = tensor.f_permute([0, 2, 3, 1])?;
            if channels_last.is_contiguous() {
                return Ok(Self::ChannelsLast(channels_last));
            }
        }
        Ok(Self::AsShaped(tensor.f_contiguous()?))
    }
}

/// The memory of a tensor without gaps, on the host.
fn bytes(tensor: &Tensor) -> &[u8] {
    assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu, "artifacts are made of tensors on the host");
    let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
    if length == 0 {
        return &[];
    }
    // SAFETY: the elements of a contiguous tensor lie side by side from there on, and the tensor outlives the slice.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), length) }
}

/// Whether no number is infinite or none.
pub fn is_finite(tensors: &Tensors) -> Result<bool, TchError> {
    for (_, tensor) in tensors.iter().filter(|(_, tensor)| tensor.kind() == Kind::Float) {
        let (Lying::AsShaped(lying) | Lying::ChannelsLast(lying)) = Lying::of(tensor)?;
        let is_finite = |number: &[u8; 4]| f32::from_le_bytes(*number).is_finite();
        // Whole stretches at a time: the processor looks at many numbers at once.
        let (numbers, _) = bytes(&lying).as_chunks();
        if !numbers.chunks(1024).all(|stretch| stretch.iter().fold(true, |all, number| all & is_finite(number))) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn entry(name: &str, tensor: &Tensor) -> average::Tensor {
    let dtype = match tensor.kind() {
        Kind::Float => Dtype::F32,
        Kind::Int64 => Dtype::I64,
        other => unreachable!("artifacts hold f32 and i64 alone, not {other:?}"),
    };
    let shape = tensor.size().into_iter().map(|size| size as usize).collect();
    let bytes = (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
    average::Tensor { name: name.to_owned(), dtype, shape, offset: 0, bytes }
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<(Tensors, Metadata), ArtifactError> {
    let length = std::fs::metadata(path)?.len();
    if length > FILE_BYTES_MAX {
        return Err(ArtifactError::TooLarge { bytes: length });
    }
    let bytes = std::fs::read(path)?;
    let header = header(&bytes)?;
    let tensors = header.tensors().iter().map(|entry| Ok((entry.name.clone(), tensor(entry, &bytes)?)));
    Ok((tensors.collect::<Result<_, ArtifactError>>()?, header.metadata().clone()))
}

fn header(bytes: &[u8]) -> Result<Header, ArtifactError> {
    let damaged = |reason: &dyn ToString| ArtifactError::Header(reason.to_string());
    let prefix = *bytes.first_chunk().ok_or_else(|| damaged(&"the file has fewer than 8 bytes"))?;
    let json_bytes = Header::json_bytes(prefix).map_err(|error| damaged(&error))?;
    let json = bytes.get(8..8 + json_bytes).ok_or_else(|| damaged(&"the file ends within its header"))?;
    Header::parse(json, bytes.len() as u64).map_err(|error| damaged(&error))
}

fn tensor(entry: &average::Tensor, bytes: &[u8]) -> Result<Tensor, ArtifactError> {
    let kind = match entry.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::I64 => Kind::Int64,
        dtype => return Err(ArtifactError::Dtype { name: entry.name.clone(), dtype }),
    };
    let shape: Vec<i64> = entry.shape.iter().map(|&size| size as i64).collect();
    // The header was held against the file's length: the range is within it.
    let data = &bytes[entry.offset as usize..][..entry.bytes as usize];
    if data.is_empty() {
        return Ok(Tensor::f_empty(shape, (kind, Device::Cpu))?);
    }
    Ok(Tensor::f_from_data_size(data, &shape, kind)?)
}

/// The note `key`, as text.
pub fn note<'a>(metadata: &'a Metadata, key: &'static str) -> Result<&'a str, ArtifactError> {
    metadata.get(key).map(String::as_str).ok_or(ArtifactError::MissingNote(key))
}

/// The note `key`, read by `parse`.
pub fn parsed<T, E: ToString>(
    metadata: &Metadata,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ArtifactError> {
    let value = note(metadata, key)?;
    let bad = |error: E| ArtifactError::BadNote { key, value: value.to_owned(), reason: error.to_string() };
    parse(value).map_err(bad)
}

/// The tensors whose names start with `prefix`, without it.
pub fn under(tensors: &Tensors, prefix: &str) -> Tensors {
    let inner =
        |(name, tensor): &(String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()));
    tensors.iter().filter_map(inner).collect()
}

/// The tensors with `prefix` before their names.
pub fn prefixed(prefix: &str, tensors: Tensors) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::{Purpose, Stream};

    fn sample() -> (Tensors, Metadata) {
        let tensors = vec![
            ("fc.weight".to_owned(), Tensor::from_slice(&[1.5f32, -2.0, 0.0, 4.0]).view([2, 2])),
            ("bn.num_batches_tracked".to_owned(), Tensor::from(7i64)),
        ];
        let metadata = Metadata::from([("kind".to_owned(), "\"final\"".to_owned()), ("b".to_owned(), "é".to_owned())]);
        (tensors, metadata)
    }

    #[test]
    fn what_is_written_is_read_and_is_the_same_bytes_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let (tensors, metadata) = sample();
        let path = folder.path().join("model.safetensors");
        write(&path, &tensors, &metadata).unwrap();
        let first = std::fs::read(&path).unwrap();
        write(&path, &tensors, &metadata).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        let (back, notes) = read(&path).unwrap();
        assert_eq!(notes, metadata);
        for (name, tensor) in &tensors {
            assert_eq!(back.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor), Some(tensor));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn elements_are_written_in_the_order_of_the_shape_however_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let lying = Tensor::arange(2 * 3 * 4 * 5, (Kind::Float, Device::Cpu)).view([2, 3, 4, 5]);
        let views = [lying.permute([0, 3, 1, 2]), lying.permute([3, 0, 2, 1]), lying.slice(1, 1, 3, 1)];
        let named: Tensors = views.iter().enumerate().map(|(n, view)| (n.to_string(), view.shallow_clone())).collect();
        write(&path, &named, &Metadata::new()).unwrap();
        let back = read(&path).unwrap().0;
        assert!(named.iter().zip(&back).all(|(one, other)| one == other));
        assert!(is_finite(&named).unwrap());
        let _ = lying.view(-1).get(77).fill_(f64::NEG_INFINITY);
        assert!(!is_finite(&named[..1].iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect()).unwrap());
    }

    #[test]
    fn damage_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (tensors, metadata) = sample();
        write(&path, &tensors, &metadata).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert_eq!(refused(&bytes[..5]), "the file has fewer than 8 bytes; it may be damaged");
        assert_eq!(refused(&bytes[..40]), "the file ends within its header; it may be damaged");
        assert!(refused(&bytes[..bytes.len() - 1]).contains("it may be cut short"));
        assert!(refused(b"not a model at all").contains("not a safetensors file?"));
        let error = note(&metadata, "run").unwrap_err().to_string();
        assert_eq!(error, "its metadata has no `run`: it was not written by this program");
    }

    /// Whatever happens to a file's bytes, reading it ends with tensors or with an error. Two thousand damaged files.
    #[test]
    fn hostile_files_never_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (tensors, metadata) = sample();
        write(&path, &tensors, &metadata).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for case in 0..2000 {
            let chance = Stream::new(case, Purpose::DataOrder, 0);
            let mut bytes = whole.clone();
            for edit in 0..chance.below(0, 4) {
                let place = chance.below(1 + 2 * edit, bytes.len() as u64) as usize;
                bytes[place] = chance.bits(2 + 2 * edit) as u8;
            }
            bytes.truncate(chance.below(99, 2 * bytes.len() as u64) as usize);
            std::fs::write(&path, &bytes).unwrap();
            let _ = read(&path);
        }
    }
}
