//! Data set files good, bad and hostile; and the invariants of splits.
#![allow(clippy::unwrap_used)]

use ensemble::dataset::{Dataset, Files, Pixels, Split, fold, read, summarize, validation};
use ensemble::job::Format;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

/// A folder in memory.
#[derive(Clone, Debug, Default)]
struct Folder(BTreeMap<String, Vec<u8>>);

impl Files for Folder {
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.0.get(name).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        Ok(self.0[name][range.start as usize..range.end as usize].to_vec())
    }
}

impl Folder {
    fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.insert(name.to_owned(), bytes.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    fn change(mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(self.0.get_mut(name).unwrap());
        self
    }
}

fn idx_images(count: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [0x803, count, 2, 3].into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend(pixels);
    bytes
}

fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [0x801, labels.len() as u32].into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend(labels);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Four training images of 2 × 3 pixels and three classes, and one test image.
fn idx() -> Folder {
    let pixels: Vec<u8> = (0..24).collect();
    Folder::default()
        .with("train-images-idx3-ubyte", idx_images(4, &pixels))
        .with("train-labels-idx1-ubyte", idx_labels(&[0, 2, 1, 2]))
        .with("t10k-images-idx3-ubyte.gz", gzip(&idx_images(1, &[9; 6])))
        .with("t10k-labels-idx1-ubyte.gz", gzip(&idx_labels(&[1])))
}

fn cifar_10() -> Folder {
    let record = |label: u8| [vec![label], vec![label; 3072]].concat();
    let batch = |number: usize| (format!("data_batch_{number}.bin"), [record(number as u8), record(9)].concat());
    let folder = Folder((1..=5).map(batch).collect());
    folder.with("test_batch.bin", record(3))
}

fn cifar_100() -> Folder {
    let record = |coarse: u8, fine: u8| [vec![coarse, fine], vec![fine; 3072]].concat();
    Folder::default().with("train.bin", [record(3, 99), record(0, 1)].concat()).with("test.bin", record(1, 50))
}

fn tensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Two samples of `[1, 1, 2]` in f32, labels in i64.
fn safetensors() -> Folder {
    let header = r#"{"x":{"dtype":"F32","shape":[2,1,1,2],"data_offsets":[0,16]},
        "y":{"dtype":"I64","shape":[2],"data_offsets":[16,32]}}"#;
    let x: Vec<u8> = [0.0f32, 0.25, 0.5, 1.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let y: Vec<u8> = [1i64, 0].into_iter().flat_map(i64::to_le_bytes).collect();
    let bytes = tensors(header, &[x, y].concat());
    Folder::default().with("train.safetensors", bytes.clone()).with("test.safetensors", bytes)
}

fn labels(data: &Dataset) -> (&[u32], &[u32]) {
    (&data.train.labels, data.test.as_ref().map_or(&[], |test| &test.labels))
}

#[test]
fn idx_is_read_plain_and_compressed() {
    let data = read(Format::Idx, None, &idx()).unwrap();
    assert_eq!((data.classes, data.train.images.shape), (3, [1, 2, 3]));
    assert_eq!(labels(&data), (&[0, 2, 1, 2][..], &[1][..]));
    assert_eq!(data.train.images.pixels, Pixels::U8((0..24).collect()));
    assert_eq!(data.test.unwrap().images.pixels, Pixels::U8(vec![9; 6]));
}

#[test]
fn both_cifars_are_read() {
    let ten = read(Format::Cifar, None, &cifar_10()).unwrap();
    assert_eq!((ten.classes, ten.train.images.shape), (10, [3, 32, 32]));
    assert_eq!(labels(&ten), (&[1, 9, 2, 9, 3, 9, 4, 9, 5, 9][..], &[3][..]));
    let hundred = read(Format::Cifar, None, &cifar_100()).unwrap();
    assert_eq!((hundred.classes, labels(&hundred)), (100, (&[99, 1][..], &[50][..])));
    assert!(matches!(hundred.train.images.pixels, Pixels::U8(pixels) if pixels[3071..3073] == [99, 1]));
}

#[test]
fn safetensors_are_read() {
    let data = read(Format::Safetensors, Some(5), &safetensors()).unwrap();
    assert_eq!((data.classes, data.train.images.shape, labels(&data).0), (5, [1, 1, 2], &[1, 0][..]));
    assert_eq!(data.train.images.pixels, Pixels::F32(vec![0.0, 0.25, 0.5, 1.0]));
}

#[test]
fn a_summary_is_what_reading_finds() {
    let summary = summarize(Format::Idx, None, &idx()).unwrap();
    assert_eq!(
        (summary.train, summary.test, summary.classes, summary.shape, summary.rarest_class),
        (4, 1, 3, [1, 2, 3], 1)
    );
    let summary = summarize(Format::Cifar, None, &cifar_100()).unwrap();
    assert_eq!((summary.train, summary.test, summary.classes, summary.rarest_class), (2, 1, 100, 0));
    let untested = safetensors().without("test.safetensors");
    assert_eq!(summarize(Format::Safetensors, None, &untested).unwrap().test, 0);
}

/// Reads the folder and compares what it is refused with.
fn refused(format: Format, classes: Option<u32>, folder: &Folder, expected: &str) {
    assert_eq!(read(format, classes, folder).unwrap_err().to_string(), expected);
}

#[test]
fn damaged_idx_is_refused_with_what_was_found() {
    let check = |folder: Folder, expected: &str| refused(Format::Idx, None, &folder, expected);
    check(
        Folder::default(),
        "none of train-images-idx3-ubyte, train-images-idx3-ubyte.gz is in the data folder; check `data.path` and `data.format`",
    );
    check(
        idx().without("train-labels-idx1-ubyte"),
        "train-labels-idx1-ubyte is missing, though train-images-idx3-ubyte is there",
    );
    check(
        idx().with("train-images-idx3-ubyte", idx_labels(&[0; 20])),
        "train-images-idx3-ubyte starts with 0x00000801, not with 0x00000803: it is not an IDX file of images",
    );
    check(
        idx().change("train-images-idx3-ubyte", |bytes| bytes.truncate(30)),
        "train-images-idx3-ubyte is cut short: 24 bytes of images were expected, 14 are there; fetch it again",
    );
    check(
        idx().change("train-images-idx3-ubyte", |bytes| bytes.push(0)),
        "train-images-idx3-ubyte goes on after the 24 bytes of images that its header accounts for",
    );
    check(
        idx().with("train-labels-idx1-ubyte", idx_labels(&[0, 1])),
        "train-images-idx3-ubyte has 4 images, but train-labels-idx1-ubyte has 2 labels",
    );
    check(
        idx().with("train-images-idx3-ubyte", idx_images(0, &[])),
        "train-images-idx3-ubyte is empty: its header says [0, 2, 3]",
    );
    check(
        idx().with("t10k-labels-idx1-ubyte.gz", idx_labels(&[7])),
        "t10k-labels-idx1-ubyte.gz: label 7 of sample 0 is not among the 3 classes 0 to 2; check `data.classes`",
    );
    let cut = idx().change("t10k-images-idx3-ubyte.gz", |bytes| bytes.truncate(25));
    let error = read(Format::Idx, None, &cut).unwrap_err().to_string();
    assert!(error.starts_with("t10k-images-idx3-ubyte.gz cannot be decompressed: "), "{error}");
}

#[test]
fn sizes_that_cannot_be_are_refused_before_memory_is_taken() {
    let huge: Vec<u8> = [0x803, u32::MAX, u32::MAX, u32::MAX].into_iter().flat_map(u32::to_be_bytes).collect();
    refused(
        Format::Idx,
        None,
        &idx().with("train-images-idx3-ubyte", huge),
        "train-images-idx3-ubyte announces 18446744073709551615 bytes of images, more than the 68719476736 allowed",
    );
    // A compressed file of 30 bytes cannot hold four billion labels.
    let labels: Vec<u8> = [0x801, u32::MAX].into_iter().flat_map(u32::to_be_bytes).collect();
    let folder = idx().without("train-labels-idx1-ubyte").with("train-labels-idx1-ubyte.gz", gzip(&labels));
    let error = read(Format::Idx, None, &folder).unwrap_err().to_string();
    assert!(error.starts_with("train-labels-idx1-ubyte.gz is cut short: 4294967295 bytes of labels"), "{error}");
}

#[test]
fn damaged_cifar_and_safetensors_are_refused_with_what_was_found() {
    let cifar = |folder: Folder, expected: &str| refused(Format::Cifar, None, &folder, expected);
    cifar(cifar_10().without("data_batch_3.bin"), "data_batch_3.bin is missing, though data_batch_1.bin is there");
    cifar(
        cifar_10().change("data_batch_2.bin", |bytes| bytes.truncate(4000)),
        "data_batch_2.bin has 4000 bytes, which is no multiple of its records' 3073; it may be cut short",
    );
    cifar(
        cifar_10().change("test_batch.bin", |bytes| bytes[0] = 10),
        "test_batch.bin: label 10 of sample 0 is not among the 10 classes 0 to 9; check `data.classes`",
    );
    let file = |header: &str, data: &[u8]| safetensors().with("train.safetensors", tensors(header, data));
    let tensors = |folder: Folder, expected: &str| refused(Format::Safetensors, None, &folder, expected);
    tensors(
        file(r#"{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4]),
        "train.safetensors: tensor `x` is [2] of F16; `[N, C, H, W]` of U8 or F32 is expected",
    );
    tensors(
        file(r#"{"x":{"dtype":"U8","shape":[1,1,1,1],"data_offsets":[0,1]}}"#, &[0]),
        "train.safetensors: tensor `y` is missing; `[N]` of U8 or I64 is expected",
    );
    tensors(
        safetensors().change("train.safetensors", |bytes| bytes.truncate(bytes.len() - 3)),
        "train.safetensors: the file has 162 bytes where its header accounts for 165; it may be cut short",
    );
    tensors(
        safetensors().change("train.safetensors", |bytes| {
            let end = bytes.len();
            bytes[end - 8..].copy_from_slice(&(-3i64).to_le_bytes());
        }),
        "train.safetensors: label -3 of sample 1 is not among the 2 classes 0 to 1; check `data.classes`",
    );
    tensors(
        safetensors().change("train.safetensors", |bytes| {
            let x = bytes.len() - 32;
            bytes[x..x + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        }),
        "train.safetensors: value 0 of `x` is NaN; every pixel must be a finite number",
    );
}

fn any_folder() -> impl Strategy<Value = (Format, Folder)> {
    prop_oneof![
        Just((Format::Idx, idx())),
        Just((Format::Cifar, cifar_10())),
        Just((Format::Cifar, cifar_100())),
        Just((Format::Safetensors, safetensors())),
    ]
}

proptest! {
    /// Whatever happens to a file's bytes, reading ends with data or with an error that has a name.
    #[test]
    fn hostile_files_never_panic(
        (format, mut folder) in any_folder(),
        which in any::<prop::sample::Index>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
        edits in prop::collection::vec((0usize..160, any::<u8>()), 0..6),
    ) {
        let name = which.get(&folder.0.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = folder.0.get_mut(&name).unwrap();
        for (place, value) in edits {
            if let Some(byte) = bytes.get_mut(place) { *byte = value; }
        }
        if let Some(cut) = cut { bytes.truncate(cut.index(bytes.len())); }
        let summary = summarize(format, None, &folder);
        let data = read(format, None, &folder);
        if let Ok(data) = data {
            prop_assert_eq!(summary.unwrap().train, data.train.labels.len());
            prop_assert!(data.train.labels.iter().all(|&label| label < data.classes));
        }
    }

    #[test]
    fn a_validation_split_keeps_the_share_of_every_class(
        labels in prop::collection::vec(0u32..7, 1..400), share in 0.0f64..0.99, seed: u64,
    ) {
        let split = validation(&labels, share, seed);
        invariant_partition(&split, &(0..labels.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(split.held_out.len(), (labels.len() as f64 * share).round() as usize);
        for class in 0..7 {
            let exact = count(&labels, &(0..labels.len() as u32).collect::<Vec<_>>(), class) as f64 * share;
            prop_assert!((count(&labels, &split.held_out, class) as f64 - exact).abs() < 1.0);
        }
    }

    #[test]
    fn folds_partition_the_samples_evenly(
        labels in prop::collection::vec(0u32..5, 20..300), folds in 2u32..8, seed: u64,
    ) {
        let among: Vec<u32> = (0..labels.len() as u32).filter(|sample| sample % 3 != 0).collect();
        let splits: Vec<Split> = (0..folds).map(|number| fold(&labels, &among, number, folds, seed)).collect();
        splits.iter().for_each(|split| invariant_partition(split, &among));
        let mut held_out: Vec<u32> = splits.iter().flat_map(|split| split.held_out.clone()).collect();
        held_out.sort_unstable();
        prop_assert_eq!(held_out, among.clone());
        invariant_even(splits.iter().map(|split| split.held_out.len()));
        (0..5).for_each(|class| invariant_even(splits.iter().map(|split| count(&labels, &split.held_out, class))));
    }
}

fn count(labels: &[u32], samples: &[u32], class: u32) -> usize {
    samples.iter().filter(|&&sample| labels[sample as usize] == class).count()
}

fn invariant_partition(split: &Split, all: &[u32]) {
    let mut together = [split.training.clone(), split.held_out.clone()].concat();
    together.sort_unstable();
    assert_eq!(together, all);
    assert!(split.training.is_sorted() && split.held_out.is_sorted());
}

fn invariant_even(sizes: impl Iterator<Item = usize> + Clone) {
    assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
}

/// Committed values: members of one job meet the same split on every machine and in every version.
#[test]
fn splits_never_change() {
    let labels: Vec<u32> = (0..20).map(|sample| sample % 2).collect();
    let held_out = validation(&labels, 0.2, 1 << 16).held_out;
    let folds: Vec<_> = (0..3).map(|number| fold(&labels, &held_out, number, 3, 1 << 16).held_out).collect();
    assert_eq!(format!("{held_out:?} {folds:?}"), "[0, 4, 17, 19] [[0, 17], [4], [19]]");
    assert_ne!(held_out, validation(&labels, 0.2, 2).held_out);
}
