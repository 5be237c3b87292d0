//! The same changes as a map: where each pixel of a changed image comes from. On the CPU a batch is then one pass over
//! memory.

use ensemble::job::Augmentation;

use crate::random::{Purpose, RandomStreams, Stream};

/// Where the pixels along one axis of a changed image come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    is_mirrored: bool,
    offset: i64,
    begin: i64,
    end: i64,
}

impl Axis {
    /// An axis that was not changed.
    fn identity(length: i64) -> Self {
        Self { is_mirrored: false, offset: 0, begin: 0, end: length }
    }

    /// Then a window that starts `by` pixels further on (before the start, if negative) is cut out.
    fn shifted(self, by: i64, length: i64) -> Self {
        let offset = if self.is_mirrored { self.offset - by } else { self.offset + by };
        Self { offset, begin: (self.begin - by).max(0), end: (self.end - by).min(length), ..self }
    }

    /// Then both directions change places.
    fn mirrored(self, length: i64) -> Self {
        let last = length - 1;
        let offset = if self.is_mirrored { self.offset - last } else { self.offset + last };
        Self { is_mirrored: !self.is_mirrored, offset, begin: length - self.end, end: length - self.begin }
    }

    /// The pixels that come from the original; the others are padding.
    pub fn inside(self) -> std::ops::Range<usize> {
        self.begin as usize..self.end.max(self.begin) as usize
    }

    /// The original's place of pixel `place`, which is inside.
    pub fn source(self, place: usize) -> usize {
        let place = place as i64;
        (if self.is_mirrored { self.offset - place } else { self.offset + place }) as usize
    }

    /// Whether sources run backwards.
    pub fn is_mirrored(self) -> bool {
        self.is_mirrored
    }
}

/// Where the pixels of one changed image come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// From top to bottom.
    pub rows: Axis,
    /// From left to right.
    pub columns: Axis,
}

/// The views of a batch of `batch` images of each member, members one after the other; drawn as [`super::augment`]
/// draws.
pub fn views(
    recipe: &[Augmentation],
    streams: &RandomStreams,
    step: u64,
    batch: usize,
    [height, width]: [i64; 2],
) -> Vec<View> {
    let unchanged = View { rows: Axis::identity(height), columns: Axis::identity(width) };
    let mut views = vec![unchanged; streams.seeds().len() * batch];
    for (place, change) in (0..).zip(recipe) {
        for (member, views) in views.chunks_mut(batch).enumerate() {
            let stream = |purpose| Stream::new(streams.seeds()[member], purpose, step).substream(place);
            for (index, view) in (0..).zip(views) {
                match change {
                    Augmentation::RandomCrop(crop) => {
                        let padding = i64::from(crop.padding);
                        let shift = |at| draw(stream(Purpose::Crop), at, 2 * padding + 1) - padding;
                        view.rows = view.rows.shifted(shift(2 * index), height);
                        view.columns = view.columns.shifted(shift(2 * index + 1), width);
                    }
                    Augmentation::HorizontalFlip if draw(stream(Purpose::Flip), index, 2) == 0 => {
                        view.columns = view.columns.mirrored(width);
                    }
                    Augmentation::HorizontalFlip => {}
                }
            }
        }
    }
    views
}

/// What [`crate::random::PackStream::below`] has at `index`: from 24 bits, so that it is the same on every device.
fn draw(stream: Stream, index: u64, bound: i64) -> i64 {
    ((stream.bits(index) >> 40) as i64 * bound) >> 24
}
