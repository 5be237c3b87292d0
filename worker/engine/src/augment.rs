//! Random changes to images, as batched tensor operations where the images are.
//!
//! Each image draws from its member's stream of the step, so that a member in a pack, or one that is resumed, sees what
//! it would have seen.

pub mod view;

use ensemble::job::{Augmentation, RandomCrop};
use tch::{Kind, TchError, Tensor};

use crate::random::{PackStream, Purpose, RandomStreams};

/// Changes a batch `[M·B, H, W, C]`, members one after the other, as `recipe` says.
pub fn augment(
    mut images: Tensor,
    recipe: &[Augmentation],
    streams: &RandomStreams,
    step: u64,
) -> Result<Tensor, TchError> {
    for (place, change) in (0..).zip(recipe) {
        let stream = |purpose| streams.at(purpose, step).substream(place);
        images = match change {
            Augmentation::RandomCrop(crop) => random_crop(&images, crop, &stream(Purpose::Crop))?,
            Augmentation::HorizontalFlip => horizontal_flip(&images, &stream(Purpose::Flip))?,
        };
    }
    Ok(images)
}

/// As torchvision's `RandomCrop(size, padding)`: every window of the zero-padded image is equally likely.
fn random_crop(images: &Tensor, crop: &RandomCrop, stream: &PackStream) -> Result<Tensor, TchError> {
    let padding = i64::from(crop.padding);
    let (count, height, width, _) = images.size4()?;
    let of_member = count / stream.members().len() as i64;
    let offsets = stream.below(2 * of_member, 2 * padding + 1, images.device())?.f_view([count, 2])?;
    let count_to = |length: i64| Tensor::f_arange(length, (Kind::Int64, images.device()));
    let image = count_to(count)?.f_view([count, 1, 1])?;
    let row = offsets.f_select(1, 0)?.f_view([count, 1, 1])?.f_add(&count_to(height)?.f_view([1, height, 1])?)?;
    let column = offsets.f_select(1, 1)?.f_view([count, 1, 1])?.f_add(&count_to(width)?.f_view([1, 1, width])?)?;
    let padded = images.f_constant_pad_nd([0, 0, padding, padding, padding, padding])?;
    padded.f_index(&[Some(image), Some(row), Some(column)])
}

/// As torchvision's `RandomHorizontalFlip`: left and right change places with probability one half.
fn horizontal_flip(images: &Tensor, stream: &PackStream) -> Result<Tensor, TchError> {
    let (count, _, _, _) = images.size4()?;
    let flipped = stream.bernoulli(count / stream.members().len() as i64, 0.5, images.device())?;
    images.f_flip([2])?.f_where_self(&flipped.f_view([count, 1, 1, 1])?, images)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FLIP: Augmentation = Augmentation::HorizontalFlip;
    const CROP: Augmentation = Augmentation::RandomCrop(RandomCrop { padding: 1 });

    /// `count` images of two rows and three columns, one channel: 1 to 6.
    fn images(count: i64) -> Tensor {
        Tensor::from_slice(&[1u8, 2, 3, 4, 5, 6]).view([1, 2, 3, 1]).repeat([count, 1, 1, 1])
    }

    fn changed(count: i64, recipe: &[Augmentation], seeds: &[u64]) -> Vec<Vec<u8>> {
        let out = augment(images(count), recipe, &RandomStreams::new(seeds), 3).unwrap();
        assert_eq!(out.size(), [count, 2, 3, 1]);
        Vec::<u8>::try_from(out.reshape(-1)).unwrap().chunks(6).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn flips_mirror_about_half_of_the_images() {
        let out = changed(1000, &[FLIP], &[1]);
        let mirrored = out.iter().filter(|image| image[..] == [3, 2, 1, 6, 5, 4]).count();
        assert!((440..560).contains(&mirrored), "{mirrored} of 1000");
        assert_eq!(out.iter().filter(|image| image[..] == [1, 2, 3, 4, 5, 6]).count(), 1000 - mirrored);
    }

    #[test]
    fn crops_are_every_window_of_the_padded_image_equally_often() {
        let window = |top: i64, left: i64| {
            let at = |row: i64, column: i64| {
                if (0..2).contains(&row) && (0..3).contains(&column) { (row * 3 + column + 1) as u8 } else { 0 }
            };
            (0..6).map(|place| at(place / 3 + top - 1, place % 3 + left - 1)).collect::<Vec<u8>>()
        };
        let out = changed(9000, &[CROP], &[2]);
        let counts: Vec<usize> =
            (0..9).map(|place| out.iter().filter(|image| **image == window(place / 3, place % 3)).count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 9000);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_member_of_a_pack_draws_what_it_draws_alone() {
        let pack = changed(40, &[CROP, FLIP, CROP], &[7, 8]);
        assert_eq!(pack[20..], changed(20, &[CROP, FLIP, CROP], &[8]));
        assert_ne!(pack[..20], pack[20..]);
    }
}
