//! What the simulated training makes: pure functions of what was asked for.

use ensemble::run::Run;
use safetensors::tensor::{Dtype, TensorView};

/// Epochs of a run, each with a checkpoint.
pub const EPOCHS: u64 = 6;
/// Samples of every part of the data.
const SAMPLES: usize = 4;
const CLASSES: usize = 2;

/// The state of a run after some epochs. It names them, so that whoever goes on from it knows where it stands.
pub fn checkpoint(run: &Run, epochs: u64) -> Vec<u8> {
    format!("{} {} {epochs}", run.name, run.seed).into_bytes()
}

/// How many epochs a checkpoint stands for.
pub fn epochs_of(run: &Run, checkpoint: &[u8]) -> u64 {
    let text = std::str::from_utf8(checkpoint).expect("a checkpoint is text here");
    let epochs = text.rsplit(' ').next().and_then(|epochs| epochs.parse().ok());
    let epochs = epochs.expect("a checkpoint ends with its epochs");
    assert_eq!(text.as_bytes(), self::checkpoint(run, epochs), "a run goes on from its own checkpoint");
    epochs
}

/// The trained model: one weight.
pub fn model(run: &Run) -> Vec<u8> {
    let weight = (run.seed as f32).to_le_bytes();
    let view = TensorView::new(Dtype::F32, vec![1], &weight).expect("one weight has four bytes");
    safetensors::serialize([("fc.weight", view)], None).expect("names differ")
}

/// What the model answers on every part, and what is true.
pub fn predictions(run: &Run) -> Vec<u8> {
    let logit = |at: usize| ((run.seed as usize * 7 + at * 3) % 5) as f32;
    let logits: Vec<u8> = (0..SAMPLES * CLASSES).flat_map(|at| logit(at).to_le_bytes()).collect();
    let labels: Vec<u8> = (0..SAMPLES).flat_map(|at| ((at % CLASSES) as i64).to_le_bytes()).collect();
    let logits = TensorView::new(Dtype::F32, vec![SAMPLES, CLASSES], &logits).expect("sizes agree");
    let labels = TensorView::new(Dtype::I64, vec![SAMPLES], &labels).expect("sizes agree");
    let part = |part: &str| [(format!("{part}.logits"), logits.clone()), (format!("{part}.labels"), labels.clone())];
    safetensors::serialize(["validation", "test"].into_iter().flat_map(part), None).expect("names differ")
}
