//! What a member costs beyond its training: the slot time that leases, transfers, commits and hand-overs take.
//!
//! `cargo bench -p tests --bench overhead` runs jobs of many members that train for a single step, on warm engines.
//! Whatever a slot does in a member's time (lease, step, model upload, next lease, evaluation, predictions upload) is in
//! the figure, so it bounds the overhead from above.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use std::path::Path;
use tests::{Cluster, cut_fashion_mnist, watch_until};

const MEMBERS: u32 = 40;
const ROUNDS: usize = 10;
const SLOTS: f64 = 2.0;

const JOB: &str = "
name: overhead
data: {format: idx, path: data, validation: 0.1}
model: {architecture: {mlp: {hidden: [32]}}}
train: {epochs: 1, batch_size: 1024, learning_rate: {constant: {max: 0.01}}}
members: [seeds: {count: MEMBERS}]
";

#[derive(Deserialize)]
struct Job {
    id: String,
    submitted_ms: u64,
    ended_ms: Option<u64>,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("overhead.yaml");
    std::fs::write(&file, JOB.replace("MEMBERS", &MEMBERS.to_string())).unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    cut_fashion_mnist(&folder.path().join("data"));
    let cluster = Cluster::start(&folder.path().join("cluster"));

    slot_ms_per_member(&cluster, &file);
    let mut measured: Vec<_> = (0..ROUNDS).map(|_| slot_ms_per_member(&cluster, &file)).collect();
    measured.sort_by(f64::total_cmp);
    let (fastest, median, slowest) = (measured[0], measured[ROUNDS / 2], measured[ROUNDS - 1]);
    println!(
        "slot time of a member: {median:.1} ms [{fastest:.1} to {slowest:.1}], n = {ROUNDS} jobs of {MEMBERS} members"
    );
    assert!(cluster.stop().success());
}

fn slot_ms_per_member(cluster: &Cluster, file: &Path) -> f64 {
    let id = cluster.submit(file);
    watch_until(&cluster.endpoint(), &id, |status| status.job.as_ref().filter(|job| job.ended_ms > 0).map(|_| ()));
    let jobs: Vec<Job> = cluster.json(&["get", "jobs"]);
    let job = jobs.into_iter().find(|job| job.id == id).unwrap();
    let elapsed_ms = job.ended_ms.unwrap() - job.submitted_ms;
    elapsed_ms as f64 * SLOTS / f64::from(MEMBERS)
}
