//! The header of a safetensors file: which tensor lies where.
//!
//! A file is 8 bytes of little-endian length, that many bytes of JSON, then the tensors without gaps. Parsing and
//! checking of the JSON is the `safetensors` crate's; what is added is a fixed order and a writer whose bytes are the
//! same every time.

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Largest JSON header that the format allows.
pub const HEADER_BYTES_MAX: u64 = 100_000_000;

/// Bytes of the length that precedes the JSON.
pub(super) const PREFIX_BYTES: u64 = 8;

/// Why a file is not taken for safetensors.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The first 8 bytes announce more than the format allows, as almost any other file's would.
    #[error(
        "header of {bytes} bytes announced, above the format's limit of {HEADER_BYTES_MAX}; not a safetensors file?"
    )]
    TooLong {
        /// Announced length.
        bytes: u64,
    },
    /// The JSON is malformed, or its offsets overlap, leave gaps or contradict a shape.
    #[error("bad safetensors header: {0}")]
    Invalid(#[from] serde_json::Error),
    /// The file ends too early or too late.
    #[error("the file has {found} bytes where its header accounts for {expected}; it may be cut short")]
    FileLength {
        /// What prefix, header and tensors add up to.
        expected: u64,
        /// What the file has.
        found: u64,
    },
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// Where in the file its bytes start.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A checked header: tensors follow one another without gap or overlap, and sizes agree with shapes.
#[derive(Debug, Clone)]
pub struct Header {
    /// In the order of their bytes in the file, empty ones by name.
    tensors: Vec<Tensor>,
    /// Free text beside the tensors, such as `format: pt`.
    metadata: BTreeMap<String, String>,
}

impl Header {
    /// Length of the JSON, from the first 8 bytes of a file: check it, then read that much.
    pub fn json_bytes(prefix: [u8; PREFIX_BYTES as usize]) -> Result<usize, HeaderError> {
        let bytes = u64::from_le_bytes(prefix);
        if bytes > HEADER_BYTES_MAX {
            return Err(HeaderError::TooLong { bytes });
        }
        Ok(bytes as usize)
    }

    /// Parses the JSON of a file that is `file_bytes` long.
    pub fn parse(json: &[u8], file_bytes: u64) -> Result<Self, HeaderError> {
        let parsed: Metadata = serde_json::from_slice(json)?;
        let start = PREFIX_BYTES + json.len() as u64;
        let expected = start.saturating_add(parsed.data_len() as u64);
        if expected != file_bytes {
            return Err(HeaderError::FileLength { expected, found: file_bytes });
        }
        let mut tensors: Vec<_> = parsed
            .tensors()
            .into_iter()
            .map(|(name, info)| Tensor {
                name,
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: start + info.data_offsets.0 as u64,
                bytes: (info.data_offsets.1 - info.data_offsets.0) as u64,
            })
            .collect();
        tensors.sort_by(|a, b| (a.offset, a.bytes, &a.name).cmp(&(b.offset, b.bytes, &b.name)));
        let metadata = parsed.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
        Ok(Self { tensors, metadata })
    }

    /// The tensors in the order of their bytes.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Free text beside the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

/// Prefix and JSON of a file with these tensors one after the other (their `offset` is not looked at). Padded with
/// spaces to a multiple of 8, so that the tensors are aligned. The same bytes for the same input, which a generic JSON
/// map would not promise.
pub fn write(tensors: &[Tensor], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let json = serde_json::to_vec(&Json { tensors, metadata }).expect("text and numbers are JSON");
    let padded = json.len().next_multiple_of(PREFIX_BYTES as usize);
    let mut bytes = (padded as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes.resize(PREFIX_BYTES as usize + padded, b' ');
    bytes
}

/// The JSON of a header, its entries in the order of the tensors.
struct Json<'a> {
    tensors: &'a [Tensor],
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: [u64; 2],
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("__metadata__", self.metadata)?;
        }
        let mut begin = 0;
        for Tensor { name, dtype, shape, bytes, .. } in self.tensors {
            let data_offsets = [begin, begin + bytes];
            map.serialize_entry(name, &Entry { dtype: *dtype, shape, data_offsets })?;
            begin += bytes;
        }
        map.end()
    }
}
