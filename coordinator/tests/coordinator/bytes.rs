//! The files that workers upload, small enough to check by hand.

use ensemble::average::{Tensor, write_header};
use safetensors::tensor::{Dtype, TensorView};

/// Classes of every model here.
pub const CLASSES: usize = 2;

/// True classes of the four samples that every part of the data has.
pub const LABELS: [i64; 4] = [0, 1, 1, 0];

/// What the members answer on the four samples. Their probabilities are
///
/// | sample | member 0 | member 1 | mean        |
/// |--------|----------|----------|-------------|
/// | 0      | .9  .1   | .75 .25  | .825 .175   |
/// | 1      | .25 .75  | .5  .5   | .375 .625   |
/// | 2      | .8  .2   | .1  .9   | .45  .55    |
/// | 3      | .75 .25  | .8  .2   | .775 .225   |
pub fn logits(member: usize) -> [f32; 4 * CLASSES] {
    let odds: [[f32; 2]; 4] = match member {
        0 => [[9.0, 1.0], [1.0, 3.0], [4.0, 1.0], [3.0, 1.0]],
        _ => [[3.0, 1.0], [1.0, 1.0], [1.0, 9.0], [4.0, 1.0]],
    };
    odds.as_flattened().iter().map(|odds| odds.ln()).collect::<Vec<_>>().try_into().unwrap()
}

/// A model of one weight, that says what it takes: images of one pixel. The same weight gives the same bytes.
pub fn model(weight: f32) -> Vec<u8> {
    let metadata = [("shape", "1,1,1"), ("classes", "2")].map(|(key, text)| (key.to_owned(), text.to_owned()));
    let tensor = Tensor { name: "fc.weight".into(), dtype: Dtype::F32, shape: vec![1], offset: 0, bytes: 4 };
    let mut bytes = write_header(&[tensor], &metadata.into());
    bytes.extend(weight.to_le_bytes());
    bytes
}

/// What an evaluation of a member leaves: the same on the validation and the test part.
pub fn predictions(logits: &[f32]) -> Vec<u8> {
    let logits: Vec<u8> = logits.iter().flat_map(|value| value.to_le_bytes()).collect();
    let labels: Vec<u8> = LABELS.iter().flat_map(|label| label.to_le_bytes()).collect();
    let logits = TensorView::new(Dtype::F32, vec![LABELS.len(), CLASSES], &logits).unwrap();
    let labels = TensorView::new(Dtype::I64, vec![LABELS.len()], &labels).unwrap();
    let parts = ["validation", "test"].into_iter();
    let tensors =
        parts.flat_map(|part| [(format!("{part}.logits"), logits.clone()), (format!("{part}.labels"), labels.clone())]);
    safetensors::serialize(tensors, None).unwrap()
}
