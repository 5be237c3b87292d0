//! Averaging over anything that reads, seeks and writes.

use super::header::{Header, HeaderError, PREFIX_BYTES};
use super::mean::MeanError;
use super::plan::{Mismatch, Plan};
use crate::weights::Weights;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Why averaging failed.
#[derive(Debug, thiserror::Error)]
pub enum AverageError {
    /// A model is not readable as safetensors.
    #[error("model {model}: {source}")]
    Header {
        /// Position of the model.
        model: usize,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The models are not of one architecture.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// There is not one weight for each model.
    #[error("{weights} weights for {models} models: give one weight for each")]
    WeightCount {
        /// How many weights were given.
        weights: usize,
        /// How many models there are.
        models: usize,
    },
    /// A tensor's values cannot be averaged.
    #[error("tensor `{tensor}`: {source}")]
    Mean {
        /// The tensor.
        tensor: String,
        /// What is wrong with its values.
        source: MeanError,
    },
    /// A model's header could not be read.
    #[error("reading the header of model {model}: {source}")]
    Open {
        /// Position of the model.
        model: usize,
        /// The error of the reader.
        source: io::Error,
    },
    /// A model's bytes could not be read.
    #[error("reading tensor `{tensor}` of model {model}: {source}")]
    Read {
        /// Position of the model.
        model: usize,
        /// The tensor.
        tensor: String,
        /// The error of the reader.
        source: io::Error,
    },
    /// The average could not be written.
    #[error("writing the average: {0}")]
    Write(#[source] io::Error),
}

/// Reads and checks the header of the model at position `model`, whose stream may stand anywhere.
pub fn read_header(model: usize, input: &mut (impl Read + Seek)) -> Result<Header, AverageError> {
    let (prefix, file_bytes) = read_prefix(input).map_err(|source| AverageError::Open { model, source })?;
    let failed = |source| AverageError::Header { model, source };
    let json_bytes = Header::json_bytes(prefix).map_err(failed)?;
    let expected = PREFIX_BYTES + json_bytes as u64;
    if expected > file_bytes {
        return Err(failed(HeaderError::FileLength { expected, found: file_bytes }));
    }
    let mut json = vec![0; json_bytes];
    input.read_exact(&mut json).map_err(|source| AverageError::Open { model, source })?;
    Header::parse(&json, file_bytes).map_err(failed)
}

/// Averages models from the first byte of the output to the last, on one thread. See [`Plan::split`] for several.
pub fn average_streams(
    inputs: &mut [impl Read + Seek],
    weights: &Weights,
    out: &mut impl Write,
) -> Result<Plan, AverageError> {
    let headers: Result<Vec<_>, _> =
        inputs.iter_mut().enumerate().map(|(model, input)| read_header(model, input)).collect();
    let plan = Plan::new(&headers?)?;
    out.write_all(plan.header_bytes()).map_err(AverageError::Write)?;
    let read = |model: usize, at: u64, buffer: &mut [u8]| {
        inputs[model].seek(SeekFrom::Start(at))?;
        inputs[model].read_exact(buffer)
    };
    plan.whole().run(weights, read, |_, bytes| out.write_all(bytes))?;
    out.flush().map_err(AverageError::Write)?;
    Ok(plan)
}

fn read_prefix(input: &mut (impl Read + Seek)) -> io::Result<([u8; PREFIX_BYTES as usize], u64)> {
    let file_bytes = input.seek(SeekFrom::End(0))?;
    input.rewind()?;
    let mut prefix = [0; PREFIX_BYTES as usize];
    input.read_exact(&mut prefix)?;
    Ok((prefix, file_bytes))
}
