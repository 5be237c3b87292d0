//! The weighted mean of a stretch of elements, added up one input after the other.

use super::element::{Bf16, Element, F16, F32, F64};
use safetensors::Dtype;

/// Why a stretch has no mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeanError {
    /// The type is not one of f64, f32, f16, bf16.
    #[error("{0} has no mean; only F64, F32, F16 and BF16 are averaged")]
    Dtype(Dtype),
    /// Bytes that are not the whole number of elements agreed on.
    #[error("{found} bytes of {dtype} where {expected} were expected")]
    Length {
        /// Type of the elements.
        dtype: Dtype,
        /// Bytes agreed on at the start, in whole elements.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// An input is NaN or infinite there, and so is the mean.
    #[error("element {element} is not finite in at least one input; that model has diverged, leave it out")]
    NotFinite {
        /// Position in the stretch.
        element: usize,
    },
}

/// `sum(w_k * x_k) / sum(w_k)`, elementwise, in `f64` and in the order in which inputs are added.
///
/// Sums of `f32`, `f16` and `bf16` values in `f64` are exact or as good as that, so the mean of copies is the copy. For
/// `f64` it is the differences from the first input that are added up, to the same end.
///
/// `begin`, `add` once for each input, `finish`; then `begin` again, with the same buffers.
#[derive(Debug)]
pub struct WeightedMean {
    dtype: Dtype,
    sums: Vec<f64>,
    /// The first input, for `f64`; empty for the narrower types.
    origin: Vec<f64>,
    /// Sum of the weights of what was added.
    weight: f64,
}

impl Default for WeightedMean {
    fn default() -> Self {
        Self { dtype: Dtype::F32, sums: Vec::new(), origin: Vec::new(), weight: 0.0 }
    }
}

impl WeightedMean {
    /// Starts the mean of `bytes` bytes of `dtype` elements, and forgets what was there.
    pub fn begin(&mut self, dtype: Dtype, bytes: usize) -> Result<(), MeanError> {
        if !matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(MeanError::Dtype(dtype));
        }
        self.dtype = dtype;
        let elements = bytes / self.width();
        self.sums.clear();
        // Minus zero is what leaves every first summand as it is, its sign included.
        self.sums.resize(elements, -0.0);
        self.origin.clear();
        self.weight = 0.0;
        self.check_length(bytes)
    }

    /// Adds one input's bytes, little-endian.
    pub fn add(&mut self, bytes: &[u8], weight: f64) -> Result<(), MeanError> {
        self.check_length(bytes.len())?;
        match self.dtype {
            Dtype::F32 => accumulate::<F32, 4>(&mut self.sums, bytes, weight),
            Dtype::F16 => accumulate::<F16, 2>(&mut self.sums, bytes, weight),
            Dtype::BF16 => accumulate::<Bf16, 2>(&mut self.sums, bytes, weight),
            _ if self.origin.is_empty() => self.origin.extend(bytes.as_chunks().0.iter().map(|&raw| F64::decode(raw))),
            _ => accumulate_differences(&mut self.sums, &self.origin, bytes, weight),
        }
        self.weight += weight;
        Ok(())
    }

    /// Writes the mean of what was added: as many bytes as an input has.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<(), MeanError> {
        self.check_length(out.len())?;
        divide(&mut self.sums, self.weight);
        shift(&mut self.sums, &self.origin);
        check_finite(&self.sums)?;
        match self.dtype {
            Dtype::F32 => encode::<F32, 4>(&self.sums, out),
            Dtype::F16 => encode::<F16, 2>(&self.sums, out),
            Dtype::BF16 => encode::<Bf16, 2>(&self.sums, out),
            _ => encode::<F64, 8>(&self.sums, out),
        }
        Ok(())
    }

    fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    fn check_length(&self, found: usize) -> Result<(), MeanError> {
        let expected = self.sums.len() * self.width();
        if found == expected { Ok(()) } else { Err(MeanError::Length { dtype: self.dtype, expected, found }) }
    }
}

fn check_finite(means: &[f64]) -> Result<(), MeanError> {
    // One pass without branches finds out whether the search for the culprit is needed.
    if means.iter().fold(true, |sound, mean| sound & mean.is_finite()) {
        return Ok(());
    }
    means.iter().position(|mean| !mean.is_finite()).map_or(Ok(()), |element| Err(MeanError::NotFinite { element }))
}

fn accumulate<E: Element<N>, const N: usize>(sums: &mut [f64], bytes: &[u8], weight: f64) {
    for (sum, raw) in sums.iter_mut().zip(bytes.as_chunks().0) {
        *sum += weight * E::decode(*raw);
    }
}

fn accumulate_differences(sums: &mut [f64], origin: &[f64], bytes: &[u8], weight: f64) {
    for ((sum, origin), raw) in sums.iter_mut().zip(origin).zip(bytes.as_chunks().0) {
        *sum += weight * (F64::decode(*raw) - origin);
    }
}

fn divide(sums: &mut [f64], weight: f64) {
    sums.iter_mut().for_each(|sum| *sum /= weight);
}

fn shift(means: &mut [f64], origin: &[f64]) {
    for (mean, origin) in means.iter_mut().zip(origin) {
        // Where nothing differs the origin is kept bit for bit, -0.0 included.
        *mean = if *mean == 0.0 { *origin } else { origin + *mean };
    }
}

fn encode<E: Element<N>, const N: usize>(means: &[f64], out: &mut [u8]) {
    for (raw, mean) in out.as_chunks_mut().0.iter_mut().zip(means) {
        *raw = E::encode(*mean);
    }
}
