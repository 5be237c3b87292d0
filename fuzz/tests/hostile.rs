//! Every target, on edited samples. The page of the library says how to run more cases than these.

use bolero::check;
use fuzz::memory::{Counting, peak_of};
use fuzz::targets::{dataset, job_file, weights};
use fuzz::{Edit, edited};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Cases for each target with every test run.
const CASES: usize = 5_000;
/// What a reader may hold that has nothing to do with its input: a count for each of 2^20 classes, at most.
const BYTES_FREE: usize = 12 << 20;
/// What it may hold for each byte of input: deflate yields 1032 (RFC 1951), and decoded pixels are held beside the file.
const BYTES_FOR_EACH: usize = 2_100;

/// Tries a target on its samples as they are, and on their edits.
macro_rules! hostile {
    ($name:ident, $target:path, $samples:expr) => {
        #[test]
        fn $name() {
            let samples = $samples;
            samples.iter().for_each(|sample| bounded($target, sample));
            check!().with_type::<(u8, Vec<Edit>)>().with_iterations(CASES).for_each(|(sample, edits)| {
                bounded($target, &edited(&samples[*sample as usize % samples.len()], edits));
            });
        }
    };
}

hostile!(job_file_yaml, job_file::yaml, job_file::samples());
hostile!(job_file_json, job_file::json, job_file::json_samples());
hostile!(idx_images, dataset::idx_images, dataset::idx_image_samples());
hostile!(idx_labels, dataset::idx_labels, dataset::idx_label_samples());
hostile!(cifar_batches, dataset::cifar, dataset::cifar_samples());
hostile!(data_in_safetensors, dataset::tensors, dataset::tensor_samples());
hostile!(models_to_average, weights::average, weights::model_samples());
hostile!(predictions_to_combine, weights::predictions, weights::prediction_samples());

fn bounded(target: fn(&[u8]), bytes: &[u8]) {
    let allowed = BYTES_FREE + BYTES_FOR_EACH * bytes.len();
    let peak = peak_of(|| target(bytes));
    assert!(peak <= allowed, "{peak} bytes were held for an input of {}", bytes.len());
}
