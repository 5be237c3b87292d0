//! CIFAR's binary format: records of one label byte (CIFAR-100: two, coarse and fine) and 3 × 32 × 32 pixels by plane.

use super::source::{Source, check_limit};
use super::{DatasetError, Files, Half, Labels, MAX_PIXEL_BYTES, Outline, Pixels};

pub(super) const FIRST_NAMES: &[&str] = &[TRAIN_10[0], TRAIN_100[0]];

const TRAIN_10: &[&str] =
    &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST_10: &[&str] = &["test_batch.bin"];
const TRAIN_100: &[&str] = &["train.bin"];
const TEST_100: &[&str] = &["test.bin"];

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];

/// One of the two data sets.
#[derive(Clone, Copy)]
struct Variant {
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// Label bytes of a record. The last is the class; CIFAR-100's first is the coarse one.
    label_bytes: usize,
    classes: u32,
}

const CIFAR_10: Variant = Variant { train: TRAIN_10, test: TEST_10, label_bytes: 1, classes: 10 };
const CIFAR_100: Variant = Variant { train: TRAIN_100, test: TEST_100, label_bytes: 2, classes: 100 };

/// The files of one half, in order, all of the same variant.
struct Batches<'a> {
    variant: Variant,
    sources: Vec<Source<'a>>,
}

impl<'a> Batches<'a> {
    /// The training files decide which variant it is. `None` if the half's files are not there.
    fn find(files: &'a dyn Files, half: Half) -> Result<Option<Self>, DatasetError> {
        for variant in [CIFAR_10, CIFAR_100] {
            if let Some(first) = Source::find(files, &variant.train[..1])? {
                let names = if half == Half::Train { variant.train } else { variant.test };
                if half == Half::Test && Source::find(files, names)?.is_none() {
                    return Ok(None);
                }
                let sources = names.iter().map(|name| first.sibling(&[name])).collect::<Result<_, _>>()?;
                return Ok(Some(Self { variant, sources }));
            }
        }
        Ok(None)
    }

    /// Calls `visit` with the label bytes and the pixels of each record.
    fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), DatasetError> {
        let label_bytes = self.variant.label_bytes;
        for source in &self.sources {
            let bytes = source.whole()?;
            for record in bytes.chunks_exact(label_bytes + PIXELS) {
                let (label, pixels) = record.split_at(label_bytes);
                visit(label, pixels);
            }
        }
        Ok(())
    }

    /// How many records there are: whole ones in every file.
    fn count(&self) -> Result<usize, DatasetError> {
        let record = (self.variant.label_bytes + PIXELS) as u64;
        let mut bytes = 0u64;
        for source in &self.sources {
            let file = source.name.to_owned();
            match source.length {
                0 => return Err(DatasetError::Empty { file, shape: vec![0] }),
                length if length % record != 0 => return Err(DatasetError::Ragged { file, bytes: length, record }),
                length => bytes = bytes.saturating_add(length),
            }
        }
        check_limit(self.sources[0].name, "images", bytes, MAX_PIXEL_BYTES)?;
        Ok((bytes / record) as usize)
    }
}

pub(super) fn outline(files: &dyn Files, half: Half) -> Result<Option<Outline>, DatasetError> {
    let Some(batches) = Batches::find(files, half)? else { return Ok(None) };
    let mut values = Vec::with_capacity(batches.count()?);
    batches.for_each(|label, _| values.push(label[label.len() - 1].into()))?;
    let file = batches.sources[0].name.to_owned();
    Ok(Some(Outline { shape: SHAPE, labels: Labels { file, values, classes: Some(batches.variant.classes) } }))
}

pub(super) fn pixels(files: &dyn Files, half: Half) -> Result<Pixels, DatasetError> {
    let batches = Batches::find(files, half)?.ok_or(DatasetError::Missing { names: FIRST_NAMES })?;
    let mut values = Vec::with_capacity(batches.count()? * PIXELS);
    batches.for_each(|_, pixels| values.extend_from_slice(pixels))?;
    Ok(Pixels::U8(values))
}
