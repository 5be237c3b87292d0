//! Pixels as the network sees them: each channel with mean 0 and standard deviation 1 over the training samples.

use std::cell::RefCell;

use tch::{Kind, TchError, Tensor};

/// Samples looked at in one go while statistics are gathered.
const CHUNK: usize = 8192;

/// Statistics kept: a few parts of one data set (folds, mostly).
const CACHED_MAX: usize = 32;

/// Mean and standard deviation of each channel, on pixels from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    /// Of each channel.
    pub mean: Vec<f64>,
    /// Of each channel, above 0.
    pub std: Vec<f64>,
}

impl Normalization {
    /// Over `samples` of `images` `[N, H, W, C]`. A channel that is the same everywhere gets the standard deviation 1.
    pub fn of(images: &Tensor, samples: &[i64]) -> Result<Self, TchError> {
        let samples = Tensor::f_from_slice(samples)?.f_to_device(images.device())?;
        let mut totals = Totals::default();
        for chunk in samples.f_split(CHUNK as i64, 0)? {
            totals.add(&images.f_index_select(0, &chunk)?)?;
        }
        Ok(totals.normalization(full_scale(images.kind())))
    }

    /// Pixels as f32, member m's with `of[m]`: `images` is `[M, B, H, W, C]`, or `[1, B, H, W, C]` for all members alike.
    pub fn apply_each(of: &[Self], images: &Tensor) -> Result<Tensor, TchError> {
        let of_members: Vec<_> = of.iter().map(|one| one.scale_and_shift(full_scale(images.kind()))).collect();
        let [scale, shift] = [0, 1].map(|which| {
            let values: Vec<f32> = of_members.iter().flat_map(|pair| pair[which].iter().copied()).collect();
            Tensor::f_from_slice(&values)?.f_view([of.len() as i64, 1, 1, 1, -1])?.f_to_device(images.device())
        });
        let (scale, shift) = (scale?, shift?);
        images.f_mul(&scale)?.f_sub_(&shift)
    }

    /// Of each channel, such that a pixel becomes `pixel * scale - shift`, where `full` is full brightness.
    pub(super) fn scale_and_shift(&self, full: f64) -> [Vec<f32>; 2] {
        let channels = || self.mean.iter().zip(&self.std);
        let scale = channels().map(|(_, std)| (1.0 / (std * full)) as f32).collect();
        [scale, channels().map(|(mean, std)| (mean / std) as f32).collect()]
    }

    /// Mean and standard deviation as comma-separated numbers that read back as the same.
    pub fn to_text(&self) -> [String; 2] {
        [&self.mean, &self.std].map(|values| values.iter().map(f64::to_string).collect::<Vec<_>>().join(","))
    }
}

/// What a pixel of full brightness is.
fn full_scale(kind: Kind) -> f64 {
    if kind == Kind::Uint8 { 255.0 } else { 1.0 }
}

/// Sums of each channel. Those of bytes are exact: below 2^53 for 10^11 pixels.
#[derive(Default)]
struct Totals {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Totals {
    fn add(&mut self, images: &Tensor) -> Result<(), TchError> {
        let kind = if images.kind() == Kind::Uint8 { Kind::Int64 } else { Kind::Double };
        let channels = images.size().last().copied().unwrap_or(1);
        let values = images.f_reshape([-1, channels])?.f_to_kind(kind)?;
        self.count += values.size()[0] as f64;
        accumulate(&mut self.sums, &values.f_sum_dim_intlist([0i64].as_slice(), false, kind)?)?;
        accumulate(&mut self.squares, &values.f_square()?.f_sum_dim_intlist([0i64].as_slice(), false, kind)?)
    }

    fn normalization(&self, full: f64) -> Normalization {
        let mean: Vec<f64> = self.sums.iter().map(|sum| sum / self.count).collect();
        let variance = self.squares.iter().zip(&mean).map(|(square, mean)| square / self.count - mean * mean);
        let std = variance.map(|variance| if variance > 1e-12 { variance.sqrt() / full } else { 1.0 }).collect();
        Normalization { mean: mean.into_iter().map(|mean| mean / full).collect(), std }
    }
}

fn accumulate(into: &mut Vec<f64>, sums: &Tensor) -> Result<(), TchError> {
    let sums = Vec::<f64>::try_from(sums.f_to_kind(Kind::Double)?)?;
    into.resize(sums.len(), 0.0);
    into.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    Ok(())
}

/// Statistics of parts of one data set: tasks of one job ask for the same few again and again.
#[derive(Debug, Default)]
pub(super) struct Cache(RefCell<Vec<(Vec<i64>, Normalization)>>);

impl Cache {
    pub(super) fn get(
        &self,
        samples: &[i64],
        compute: impl FnOnce() -> Result<Normalization, TchError>,
    ) -> Result<Normalization, TchError> {
        let mut known = self.0.borrow_mut();
        if let Some((_, found)) = known.iter().find(|(of, _)| of == samples) {
            return Ok(found.clone());
        }
        if known.len() == CACHED_MAX {
            known.remove(0);
        }
        let computed = compute()?;
        known.push((samples.to_vec(), computed.clone()));
        Ok(computed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two images of one row, two pixels and two channels; a third that must not count.
    fn images() -> Tensor {
        Tensor::from_slice(&[0u8, 255, 51, 255, 102, 255, 51, 255, 9, 9, 9, 9]).view([3, 1, 2, 2])
    }

    #[test]
    fn statistics_are_those_of_the_named_samples_alone() {
        let found = Normalization::of(&images(), &[0, 1]).unwrap();
        // Of 0, 0.2, 0.4 and 0.2; the second channel is constant.
        assert!((found.mean[0] - 0.2).abs() < 1e-12 && (found.std[0] - 0.02f64.sqrt()).abs() < 1e-12);
        assert_eq!((found.mean[1], found.std[1]), (1.0, 1.0));
    }

    #[test]
    fn applying_gives_mean_zero_and_deviation_one_for_bytes_and_floats_alike() {
        let bytes = images().narrow(0, 0, 2);
        let floats = bytes.to_kind(Kind::Float) / 255.0;
        let of = Normalization::of(&bytes, &[0, 1]).unwrap();
        let apply =
            |images: &Tensor| Normalization::apply_each(std::slice::from_ref(&of), &images.unsqueeze(0)).unwrap();
        let first = apply(&bytes).select(-1, 0);
        assert!(first.mean(Kind::Double).double_value(&[]).abs() < 1e-6);
        assert!((first.square().mean(Kind::Double).double_value(&[]) - 1.0).abs() < 1e-6);
        assert!((apply(&bytes) - apply(&floats)).abs().max().double_value(&[]) < 1e-6);
    }
}
