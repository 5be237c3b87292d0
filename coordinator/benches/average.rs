//! What an average of stored models costs the coordinator: five files of 201 MB each out of the store, checked against
//! their digests, averaged, hashed and stored. Prints the median of seven, and the peak of the process's memory.
//!
//! `cargo bench --profile release -p coordinator --bench average`

use artifacts::Store;
use coordinator::averaging::average;
use safetensors::tensor::{Dtype, TensorView};
use std::io::Write;
use std::time::Instant;

const MODELS: usize = 5;
const TENSORS: usize = 48;
const TENSOR_BYTES: usize = 201_000_000 / TENSORS / 4 * 4;
const REPEATS: usize = 7;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::open_folder(folder.path().to_owned())?;
    let models = (0..MODELS).map(|seed| model(&store, seed as u32)).collect::<anyhow::Result<Vec<_>>>()?;
    // From here on, the peak is that of averaging.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let mut seconds = Vec::new();
    for _ in 0..REPEATS {
        let begin = Instant::now();
        average(&store, &models)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let (median, best, worst) = (seconds[REPEATS / 2], seconds[0], seconds[REPEATS - 1]);
    let gigabytes = models.iter().map(|model| model.bytes as f64).sum::<f64>() / 1e9;
    println!(
        "{MODELS} models, {gigabytes:.2} GB in: {median:.3} s [{best:.3}, {worst:.3}], n = {REPEATS}; {}",
        peak()?
    );
    Ok(())
}

fn model(store: &Store, seed: u32) -> anyhow::Result<ensemble::run::Artifact> {
    let values = (0..TENSOR_BYTES / 4).map(|index| (index as u32).wrapping_mul(2_654_435_761 + seed) as f32 / 4e9);
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let view = TensorView::new(Dtype::F32, vec![TENSOR_BYTES / 4], &bytes)?;
    let tensors = (0..TENSORS).map(|index| (format!("layer{index:02}.weight"), view.clone()));
    let mut draft = store.blocking_draft()?;
    draft.write_all(&safetensors::serialize(tensors, None)?)?;
    Ok(draft.commit()?)
}

/// The most memory that the process has held since the peak was reset.
fn peak() -> anyhow::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no peak known").to_owned())
}
