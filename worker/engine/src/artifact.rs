//! Model files and checkpoints on disk: named tensors and text, as safetensors.
//!
//! The header is written by `ensemble::average`, whose bytes are the same every time: an artifact's name is its digest,
//! so a run that is done again must give the same file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ensemble::average::{self, Dtype, Header};
use tch::{Device, Kind, Tensor};

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
    Libtorch(#[from] tch::TchError),
}

/// Writes a file that is either complete or not there: under a temporary name, synced, then renamed.
pub fn write(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<(), ArtifactError> {
    let temporary = path.with_extension("partial");
    let mut file = io::BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
    write_to(&mut file, tensors, metadata)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn write_to(out: &mut impl Write, tensors: &Tensors, metadata: &Metadata) -> Result<(), ArtifactError> {
    let entries: Vec<_> = tensors.iter().map(|(name, tensor)| entry(name, tensor)).collect();
    out.write_all(&average::write_header(&entries, metadata))?;
    let mut bytes = Vec::new();
    for ((_, tensor), entry) in tensors.iter().zip(&entries) {
        bytes.resize(entry.bytes as usize, 0);
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        out.write_all(&bytes)?;
    }
    Ok(())
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
