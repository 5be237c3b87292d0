//! safetensors: models to be averaged, and predictions to be combined.

use coordinator::combining::{Part, read_part};
use ensemble::average::average_streams;
use ensemble::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};
use std::io::Cursor;

/// Averages a hostile model with itself and with a good one.
pub fn average(bytes: &[u8]) {
    let good = model_samples().swap_remove(0);
    for other in [bytes, &good] {
        let weights = Weights::uniform(2).expect("two is a number of models");
        let mut out = Vec::new();
        let averaged = average_streams(&mut [Cursor::new(bytes), Cursor::new(other)], &weights, &mut out);
        if let Ok(plan) = averaged {
            assert_eq!(plan.output_bytes(), out.len() as u64);
        }
    }
}

/// Reads hostile predictions.
pub fn predictions(bytes: &[u8]) {
    for part in [Part::Validation, Part::Test, Part::HeldOut] {
        if let Ok(Some(predictions)) = read_part(bytes, part) {
            assert_eq!(predictions.logits.shape(), predictions.labels.shape());
        }
    }
}

/// Models of several types, one of them with a scalar and an empty tensor.
pub fn model_samples() -> Vec<Vec<u8>> {
    let values: Vec<u8> = (0..6).flat_map(|value| (value as f32).to_le_bytes()).collect();
    let counts = 7_i64.to_le_bytes();
    let half = [0x00, 0x3c, 0x00, 0x40];
    vec![
        file(&[("fc.weight", Dtype::F32, &[2, 3], &values), ("bn.num_batches_tracked", Dtype::I64, &[], &counts)]),
        file(&[("fc.weight", Dtype::F16, &[2], &half), ("none", Dtype::F32, &[0, 4], &[])]),
        file(&[("fc.weight", Dtype::BF16, &[1, 2], &half)]),
    ]
}

/// Three samples of two classes, on two parts.
pub fn prediction_samples() -> Vec<Vec<u8>> {
    let logits: Vec<u8> = (0..6).flat_map(|value| (value as f32).to_le_bytes()).collect();
    let labels: Vec<u8> = [0_i64, 1, 1].into_iter().flat_map(i64::to_le_bytes).collect();
    let part = |logits_name, labels_name| {
        file(&[(logits_name, Dtype::F32, &[3, 2], &logits), (labels_name, Dtype::I64, &[3], &labels)])
    };
    vec![part("validation.logits", "validation.labels"), part("test.logits", "test.labels")]
}

fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|&(name, dtype, shape, bytes)| {
        (name, TensorView::new(dtype, shape.to_vec(), bytes).expect("sizes agree with shapes"))
    });
    safetensors::serialize(views, None).expect("names differ")
}
