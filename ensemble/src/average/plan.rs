//! Which bytes of which inputs become which bytes of the output.

use super::header::{self, Header, Tensor};
use super::mean::{MeanError, WeightedMean};
use super::stream::AverageError;
use crate::weights::Weights;
use safetensors::Dtype;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// Bytes of an input that are handled at a time. With its sums in `f64` that is 192 KiB for `f32`, which stays in a
/// core's second-level cache; smaller chunks pay for system calls, larger ones for memory.
pub const CHUNK_BYTES: u64 = 64 * 1024;

/// Why models cannot be averaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// There is nothing to average.
    #[error("no models to average: at least one is needed")]
    Empty,
    /// A tensor is in some models only.
    #[error("tensor `{name}` is in model {present} but not in model {absent}; only models of one architecture average")]
    Missing {
        /// The tensor.
        name: String,
        /// Position of a model that has it.
        present: usize,
        /// Position of the model that has not.
        absent: usize,
    },
    /// A tensor has two shapes.
    #[error("tensor `{name}` has shape {first:?} in model 0 but {other:?} in model {model}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape in the first model.
        first: Vec<usize>,
        /// Its shape in the other.
        other: Vec<usize>,
        /// Position of the other.
        model: usize,
    },
    /// A tensor has two types.
    #[error("tensor `{name}` is {first} in model 0 but {other} in model {model}; convert one of them first")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type in the first model.
        first: Dtype,
        /// Its type in the other.
        other: Dtype,
        /// Position of the other.
        model: usize,
    },
    /// A tensor has a type that can be neither averaged nor copied.
    #[error("tensor `{name}` is {dtype}, which cannot be averaged; convert it to F32, F16 or BF16 first")]
    Unsupported {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
}

/// What becomes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The weighted mean, for floating-point types.
    Mean,
    /// The first model's values, for integers and booleans: counters such as `num_batches_tracked` have no mean.
    CopyFirst,
}

/// One tensor of the output, and where its bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The tensor's name.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
    /// Whether it is averaged.
    pub treatment: Treatment,
    /// How many bytes it has.
    pub bytes: u64,
    /// Where it starts in each input.
    pub sources: Vec<u64>,
    /// Where it starts in the output.
    pub target: u64,
}

/// How N models become one: checked before a single weight is read.
#[derive(Debug, Clone)]
pub struct Plan {
    header: Vec<u8>,
    segments: Vec<Segment>,
    models: usize,
}

impl Plan {
    /// Pairs the tensors of N models by name. The output has the first model's tensors in the first model's order, and
    /// of the free text what all models agree on.
    pub fn new(models: &[Header]) -> Result<Self, Mismatch> {
        let (first, rest) = models.split_first().ok_or(Mismatch::Empty)?;
        let mut sources: Vec<Vec<u64>> = first.tensors().iter().map(|tensor| vec![tensor.offset]).collect();
        for (model, other) in (1..).zip(rest) {
            pair(first, other, model, &mut sources)?;
        }
        let header = header::write(first.tensors(), &shared_metadata(models));
        let mut target = header.len() as u64;
        let mut segments = Vec::with_capacity(sources.len());
        for (tensor, sources) in first.tensors().iter().zip(sources) {
            segments.push(segment(tensor, sources, target)?);
            target += tensor.bytes;
        }
        Ok(Self { header, segments, models: models.len() })
    }

    /// The output's first bytes: length and JSON.
    pub fn header_bytes(&self) -> &[u8] {
        &self.header
    }

    /// Length of the output in bytes.
    pub fn output_bytes(&self) -> u64 {
        self.segments.iter().fold(self.header.len() as u64, |sum, segment| sum + segment.bytes)
    }

    /// How many models are averaged.
    pub fn models(&self) -> usize {
        self.models
    }

    /// The output's tensors, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The whole work as one part: writes come in rising order without gaps, from the end of the header on.
    pub fn whole(&self) -> Part<'_> {
        Part { plan: self, begin: self.header.len() as u64, end: self.output_bytes() }
    }

    /// The work in up to `parts` parts of equal size, for as many threads. Together they write what
    /// [`Plan::whole`] writes, byte for byte.
    pub fn split(&self, parts: usize) -> Vec<Part<'_>> {
        let Part { begin, end, .. } = self.whole();
        let share = (end - begin).div_ceil(parts.max(1) as u64).next_multiple_of(CHUNK_BYTES);
        let starts = (begin..end).step_by(share.max(1) as usize);
        starts.map(|begin| Part { plan: self, begin, end: end.min(begin + share) }).collect()
    }
}

/// A range of the output's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    plan: &'a Plan,
    begin: u64,
    end: u64,
}

impl Part<'_> {
    /// Averages the part. `read(model, offset, buffer)` fills the buffer from one model's file; `write(offset, bytes)`
    /// puts bytes into the output, in rising order. Neither is asked for more than [`CHUNK_BYTES`].
    ///
    /// Fails on the first error of either, and on weights that are not finite, which it names.
    pub fn run(
        &self,
        weights: &Weights,
        mut read: impl FnMut(usize, u64, &mut [u8]) -> io::Result<()>,
        mut write: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<(), AverageError> {
        if weights.len() != self.plan.models {
            return Err(AverageError::WeightCount { weights: weights.len(), models: self.plan.models });
        }
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        let mut mean = WeightedMean::default();
        for chunk in self.chunks() {
            let bytes = &mut buffer[..chunk.bytes as usize];
            match chunk.segment.treatment {
                Treatment::CopyFirst => chunk.read(&mut read, 0, bytes)?,
                Treatment::Mean => chunk.average(&mut mean, weights, &mut read, bytes)?,
            }
            write(chunk.segment.target + chunk.offset, bytes).map_err(AverageError::Write)?;
        }
        Ok(())
    }

    /// The chunks that start in the part. Chunks are counted from the start of their tensor, so that no element is cut
    /// and the same chunks are made for any number of parts.
    fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.plan.segments.iter().flat_map(|segment| {
            let first = self.begin.saturating_sub(segment.target).next_multiple_of(CHUNK_BYTES);
            let end = self.end.saturating_sub(segment.target).min(segment.bytes);
            let bytes = move |offset| CHUNK_BYTES.min(segment.bytes - offset);
            let starts = (first..end).step_by(CHUNK_BYTES as usize);
            starts.map(move |offset| Chunk { segment, offset, bytes: bytes(offset) })
        })
    }
}

/// A stretch of one tensor.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    segment: &'a Segment,
    /// Where it starts in the tensor.
    offset: u64,
    bytes: u64,
}

impl Chunk<'_> {
    fn average(
        &self,
        mean: &mut WeightedMean,
        weights: &Weights,
        read: &mut impl FnMut(usize, u64, &mut [u8]) -> io::Result<()>,
        bytes: &mut [u8],
    ) -> Result<(), AverageError> {
        mean.begin(self.segment.dtype, bytes.len()).map_err(|error| self.failed(error))?;
        for (model, &weight) in weights.values().iter().enumerate() {
            self.read(read, model, bytes)?;
            mean.add(bytes, weight).map_err(|error| self.failed(error))?;
        }
        mean.finish(bytes).map_err(|error| self.failed(error))
    }

    fn read(
        &self,
        read: &mut impl FnMut(usize, u64, &mut [u8]) -> io::Result<()>,
        model: usize,
        bytes: &mut [u8],
    ) -> Result<(), AverageError> {
        let at = self.segment.sources[model] + self.offset;
        read(model, at, bytes).map_err(|source| AverageError::Read { model, tensor: self.segment.name.clone(), source })
    }

    /// The error with the tensor's name, and the element counted from the tensor's start.
    fn failed(&self, error: MeanError) -> AverageError {
        let width = (self.segment.dtype.bitsize() / 8).max(1);
        let source = match error {
            MeanError::NotFinite { element } => {
                MeanError::NotFinite { element: element + self.offset as usize / width }
            }
            other => other,
        };
        AverageError::Mean { tensor: self.segment.name.clone(), source }
    }
}

/// Adds to `sources` where each tensor of the first model lies in another one.
fn pair(first: &Header, other: &Header, model: usize, sources: &mut [Vec<u64>]) -> Result<(), Mismatch> {
    let by_name: HashMap<&str, &Tensor> = other.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for (tensor, sources) in first.tensors().iter().zip(sources) {
        let twin = by_name.get(tensor.name.as_str()).ok_or_else(|| missing(&tensor.name, 0, model))?;
        agree(tensor, twin, model)?;
        sources.push(twin.offset);
    }
    if other.tensors().len() == first.tensors().len() {
        return Ok(());
    }
    let known: HashSet<&str> = first.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    let extra = other.tensors().iter().find(|tensor| !known.contains(tensor.name.as_str()));
    extra.map_or(Ok(()), |tensor| Err(missing(&tensor.name, model, 0)))
}

fn missing(name: &str, present: usize, absent: usize) -> Mismatch {
    Mismatch::Missing { name: name.to_owned(), present, absent }
}

fn agree(first: &Tensor, other: &Tensor, model: usize) -> Result<(), Mismatch> {
    let name = first.name.clone();
    if first.shape != other.shape {
        return Err(Mismatch::Shape { name, first: first.shape.clone(), other: other.shape.clone(), model });
    }
    if first.dtype != other.dtype {
        return Err(Mismatch::Dtype { name, first: first.dtype, other: other.dtype, model });
    }
    Ok(())
}

fn segment(tensor: &Tensor, sources: Vec<u64>, target: u64) -> Result<Segment, Mismatch> {
    let (name, dtype, bytes) = (tensor.name.clone(), tensor.dtype, tensor.bytes);
    match treatment(dtype) {
        Some(treatment) => Ok(Segment { name, dtype, treatment, bytes, sources, target }),
        None => Err(Mismatch::Unsupported { name, dtype }),
    }
}

fn treatment(dtype: Dtype) -> Option<Treatment> {
    match dtype {
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => Some(Treatment::Mean),
        Dtype::BOOL | Dtype::U8 | Dtype::I8 | Dtype::U16 | Dtype::I16 => Some(Treatment::CopyFirst),
        Dtype::U32 | Dtype::I32 | Dtype::U64 | Dtype::I64 => Some(Treatment::CopyFirst),
        _ => None,
    }
}

fn shared_metadata(models: &[Header]) -> BTreeMap<String, String> {
    let (first, rest) = models.split_first().expect("`Plan::new` has refused an empty list");
    let mut shared = first.metadata().clone();
    shared.retain(|key, text| rest.iter().all(|other| other.metadata().get(key) == Some(text)));
    shared
}
