//! A small cut of Fashion-MNIST, in its own format.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Training samples of the cut, the validation part among them.
pub const TRAIN_SAMPLES: usize = 1500;
/// Test samples of the cut.
pub const TEST_SAMPLES: usize = 300;

/// Writes the first samples of Fashion-MNIST into `folder`, as four gzip-compressed IDX files.
pub fn cut_fashion_mnist(folder: &Path) {
    for (part, samples) in [("train", TRAIN_SAMPLES), ("t10k", TEST_SAMPLES)] {
        for kind in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
            let name = format!("{part}-{kind}.gz");
            let cut = first(&raw_idx(&crate::root().join("data/fashion-mnist").join(&name)), samples);
            let mut file = GzEncoder::new(File::create(folder.join(name)).unwrap(), Compression::fast());
            file.write_all(&cut).unwrap();
            file.finish().unwrap();
        }
    }
}

/// The content of a gzip-compressed file.
pub fn raw_idx(path: &Path) -> Vec<u8> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}; `make setup` fetches it", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// An IDX file's first samples, as an IDX file. It begins with two zeros, the type and the number of dimensions; then each
/// dimension's size, big-endian, the number of samples first; then the bytes.
fn first(idx: &[u8], samples: usize) -> Vec<u8> {
    let dimensions = usize::from(idx[3]);
    let size = |index: usize| u32::from_be_bytes(idx[4 + 4 * index..][..4].try_into().unwrap()) as usize;
    let sample: usize = (1..dimensions).map(size).product();
    let header = 4 + 4 * dimensions;
    let mut cut = idx[..header + samples * sample].to_vec();
    cut[4..8].copy_from_slice(&u32::try_from(samples).unwrap().to_be_bytes());
    cut
}
