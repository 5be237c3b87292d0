//! Data set files: IDX, plain and compressed, CIFAR, safetensors.

use ensemble::dataset::{Files, read, summarize};
use ensemble::job::Format;
use flate2::Compression;
use flate2::write::GzEncoder;
use safetensors::tensor::{Dtype, TensorView};
use std::io::{self, Write};
use std::ops::Range;

/// Samples in each file, and their side. Small, so that edits hit headers often.
const IMAGES: usize = 6;
const SIDE: usize = 4;

/// A folder with one half of a data set, of which one file is hostile.
pub struct Folder<'a> {
    files: Vec<(&'static str, &'a [u8])>,
}

impl Files for Folder<'_> {
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.find(name).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let bytes = self.find(name).and_then(|bytes| bytes.get(range.start as usize..range.end as usize));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("nobody reads beyond a file's length"))
    }
}

impl<'a> Folder<'a> {
    fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
    }

    fn read(&self, format: Format) {
        let (all, outline) = (read(format, None, self), summarize(format, None, self));
        if let Ok(all) = all {
            let outline = outline.expect("what can be read can be summarized");
            assert_eq!(outline.train, all.train.labels.len());
            assert!(all.train.labels.iter().all(|label| *label < all.classes));
        }
    }
}

/// IDX images that are hostile, beside good labels.
pub fn idx_images(bytes: &[u8]) {
    let labels = labels();
    for name in ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"] {
        Folder { files: vec![(name, bytes), ("train-labels-idx1-ubyte", &labels)] }.read(Format::Idx);
    }
}

/// IDX labels that are hostile, beside good images.
pub fn idx_labels(bytes: &[u8]) {
    let images = images();
    for name in ["train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz"] {
        Folder { files: vec![("train-images-idx3-ubyte", &images), (name, bytes)] }.read(Format::Idx);
    }
}

/// A hostile batch of CIFAR-10 or CIFAR-100.
pub fn cifar(bytes: &[u8]) {
    for name in ["data_batch_1.bin", "train.bin"] {
        Folder { files: vec![(name, bytes)] }.read(Format::Cifar);
    }
}

/// A hostile data set in safetensors.
pub fn tensors(bytes: &[u8]) {
    Folder { files: vec![("train.safetensors", bytes)] }.read(Format::Safetensors);
}

/// Valid IDX images, plain, compressed, and compressed so well that a lie about their number is tempting.
pub fn idx_image_samples() -> Vec<Vec<u8>> {
    vec![images(), gzip(&images()), gzip(&vec![0; 1 << 20])]
}

/// Valid IDX labels, plain and compressed.
pub fn idx_label_samples() -> Vec<Vec<u8>> {
    vec![labels(), gzip(&labels())]
}

/// Two records of CIFAR-10 and of CIFAR-100.
pub fn cifar_samples() -> Vec<Vec<u8>> {
    [1, 2].map(|labels| vec![3; 2 * (labels + 3 * 32 * 32)]).to_vec()
}

/// Images and labels in safetensors.
pub fn tensor_samples() -> Vec<Vec<u8>> {
    let pixels = vec![7; IMAGES * SIDE * SIDE];
    let classes: Vec<u8> = (0..IMAGES as i64).flat_map(i64::to_le_bytes).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).expect("sizes agree with shapes");
    let images = view(Dtype::U8, vec![IMAGES, 1, SIDE, SIDE], &pixels);
    let labels = view(Dtype::I64, vec![IMAGES], &classes);
    vec![safetensors::serialize([("x", images), ("y", labels)], None).expect("names differ")]
}

fn images() -> Vec<u8> {
    let header = [0x803, IMAGES as u32, SIDE as u32, SIDE as u32].into_iter().flat_map(u32::to_be_bytes);
    header.chain((0..).take(IMAGES * SIDE * SIDE)).collect()
}

fn labels() -> Vec<u8> {
    let header = [0x801, IMAGES as u32].into_iter().flat_map(u32::to_be_bytes);
    header.chain((0..).take(IMAGES)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}
