//! A batch on the CPU in one pass over memory: gathered, changed and normalized.
//!
//! The same as [`crate::augment::augment`] and [`Normalization::apply_each`] one after the other, to the bit, in a
//! quarter of the time.

use tch::{Device, Kind, TchError, Tensor};

use super::Normalization;
use crate::augment::view::View;

/// The changed and normalized images `[M, B, H, W, C]` f32 of the samples `rows`, members one after the other, taken from
/// `images` `[N, H, W, C]` on the CPU.
///
/// # Panics
/// If a row is not below N, or there is not one view for each row.
pub(super) fn batch(
    images: &Tensor,
    rows: &[i64],
    views: &[View],
    normalizations: &[Normalization],
) -> Result<Tensor, TchError> {
    let (_, height, width, channels) = images.size4()?;
    let (members, batch) = (normalizations.len(), rows.len() / normalizations.len());
    let out = Tensor::f_empty([members as i64, batch as i64, height, width, channels], (Kind::Float, Device::Cpu))?;
    let size = (height * width * channels) as usize;
    // SAFETY: `out` is a fresh, contiguous f32 tensor of this many elements on the CPU, and nobody else has it.
    let targets = unsafe { std::slice::from_raw_parts_mut(out.data_ptr().cast::<f32>(), rows.len() * size) };
    let shape = Shape { width: width as usize, channels: channels as usize };
    let targets = targets.chunks_exact_mut(size).zip(rows.iter().zip(views));
    match images.kind() {
        Kind::Uint8 => {
            let (images, tables) = (elements::<u8>(images), tables(normalizations));
            for (place, (target, (&row, view))) in targets.enumerate() {
                let table = &tables[place / batch];
                let source = &images[row as usize * size..][..size];
                shape.fill(target, source, view, |byte, channel| table[channel][usize::from(byte)]);
            }
        }
        _ => {
            let images = elements::<f32>(images);
            for (place, (target, (&row, view))) in targets.enumerate() {
                let [scale, shift] = &normalizations[place / batch].scale_and_shift(1.0);
                let source = &images[row as usize * size..][..size];
                shape.fill(target, source, view, |pixel, channel| pixel * scale[channel] - shift[channel]);
            }
        }
    }
    Ok(out)
}

/// The elements of a contiguous tensor on the CPU, whose kind `T` is.
fn elements<T>(tensor: &Tensor) -> &[T] {
    assert!(tensor.device() == Device::Cpu && tensor.is_contiguous(), "images are contiguous on the device");
    assert_eq!(tensor.kind().elt_size_in_bytes(), size_of::<T>(), "the kind was looked at");
    // SAFETY: the tensor is contiguous, on the CPU, of elements of this size, and outlives the slice.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// For each member and channel, what each byte becomes.
fn tables(normalizations: &[Normalization]) -> Vec<Vec<[f32; 256]>> {
    let of_member = |normalization: &Normalization| {
        let [scale, shift] = normalization.scale_and_shift(255.0);
        let of_channel = |(scale, shift)| std::array::from_fn(|byte| byte as f32 * scale - shift);
        scale.into_iter().zip(shift).map(of_channel).collect()
    };
    normalizations.iter().map(of_member).collect()
}

#[derive(Clone, Copy)]
struct Shape {
    width: usize,
    channels: usize,
}

impl Shape {
    /// Writes one image; `value` is what a pixel of a channel becomes.
    fn fill<T: Copy + Default>(self, target: &mut [f32], source: &[T], view: &View, value: impl Fn(T, usize) -> f32) {
        let stride = self.width * self.channels;
        let inside = view.rows.inside();
        for (place, target) in target.chunks_exact_mut(stride).enumerate() {
            if inside.contains(&place) {
                let source = &source[view.rows.source(place) * stride..][..stride];
                self.fill_row(target, source, view, &value);
            } else {
                self.pad(target, &value);
            }
        }
    }

    fn fill_row<T: Copy + Default>(
        self,
        target: &mut [f32],
        source: &[T],
        view: &View,
        value: &impl Fn(T, usize) -> f32,
    ) {
        let (columns, channels) = (view.columns, self.channels);
        let inside = columns.inside();
        self.pad(&mut target[..inside.start * channels], value);
        self.pad(&mut target[inside.end * channels..], value);
        if inside.is_empty() {
            return;
        }
        let target = &mut target[inside.start * channels..inside.end * channels];
        let ends = [inside.start, inside.end - 1].map(|place| columns.source(place));
        let source = &source[ends[0].min(ends[1]) * channels..(ends[0].max(ends[1]) + 1) * channels];
        if columns.is_mirrored() {
            let pixels = target.chunks_exact_mut(channels).zip(source.chunks_exact(channels).rev());
            pixels.for_each(|(target, source)| copy(target, source, value));
        } else if channels == 1 {
            copy_one(target, source, value);
        } else {
            let pixels = target.chunks_exact_mut(channels).zip(source.chunks_exact(channels));
            pixels.for_each(|(target, source)| copy(target, source, value));
        }
    }

    fn pad<T: Default>(self, target: &mut [f32], value: &impl Fn(T, usize) -> f32) {
        for pixel in target.chunks_exact_mut(self.channels) {
            pixel.iter_mut().enumerate().for_each(|(channel, target)| *target = value(T::default(), channel));
        }
    }
}

fn copy<T: Copy>(target: &mut [f32], source: &[T], value: &impl Fn(T, usize) -> f32) {
    let pairs = target.iter_mut().zip(source).enumerate();
    pairs.for_each(|(channel, (target, &source))| *target = value(source, channel));
}

/// Gray images need no look at channels.
fn copy_one<T: Copy>(target: &mut [f32], source: &[T], value: &impl Fn(T, usize) -> f32) {
    target.iter_mut().zip(source).for_each(|(target, &source)| *target = value(source, 0));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::augment::{augment, view::views};
    use crate::random::RandomStreams;
    use ensemble::job::{Augmentation, RandomCrop};

    const CROP: Augmentation = Augmentation::RandomCrop(RandomCrop { padding: 2 });
    const FLIP: Augmentation = Augmentation::HorizontalFlip;

    /// Goal: one pass gives the very bits that the tensor operations give, for bytes and floats, gray and color, and
    /// whatever comes after whatever.
    #[test]
    fn one_pass_equals_many_to_the_bit() {
        for (channels, recipe) in [(1, &[CROP, FLIP][..]), (3, &[FLIP, CROP, CROP, FLIP, CROP]), (2, &[])] {
            let bytes = Tensor::arange(6 * 4 * 5 * channels, (Kind::Int64, Device::Cpu)).remainder(251);
            let bytes = bytes.to_kind(Kind::Uint8).view([6, 4, 5, channels]);
            let normalization = |x: f64| Normalization {
                mean: (0..channels).map(|channel| x + 0.01 * channel as f64).collect(),
                std: (0..channels).map(|channel| 0.3 * x + 0.02 * channel as f64).collect(),
            };
            let normalizations = [normalization(0.3), normalization(0.6)];
            let rows: Vec<i64> = (0..40).map(|place| place * 5 % 6).collect();
            for images in [&bytes, &(bytes.to_kind(Kind::Float) / 255.0)] {
                let streams = RandomStreams::new(&[3, 4]);
                let gathered = images.index_select(0, &Tensor::from_slice(&rows));
                let expected = augment(gathered, recipe, &streams, 9).unwrap().view([2, 20, 4, 5, channels]);
                let expected = Normalization::apply_each(&normalizations, &expected).unwrap();
                let views = views(recipe, &streams, 9, 20, [4, 5]);
                assert_eq!(batch(images, &rows, &views, &normalizations).unwrap(), expected);
            }
        }
    }
}
