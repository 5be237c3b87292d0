//! The jobs that are submitted: one of every kind that the cluster treats differently.

use ensemble::job::Job;

const HEAD: &str = "name: demo\ndata: {format: idx, path: /data}\n";

/// Sections of job files, beside the usual ones.
const KINDS: [&str; 12] = [
    "model: {architecture: cnn}\ntrain: {epochs: 4}\nmembers: [{seeds: {count: 3}}]",
    "model: {architecture: cnn}\ntrain: {epochs: 4, pack: 2}\nmembers: [{seeds: {count: 4}}]\naverage: [ema]",
    "model: {architecture: resnet18}\ntrain: {epochs: 4}\nmembers: [{seeds: {count: 1}}]\naverage: [{swa: {start: 0.5}}]",
    "model: {architecture: resnet18}\ntrain: {epochs: 4, pack: 3}\nmembers: [{seeds: {count: 3}}]\n\
     average: [{ema: {decay: 0.99}}]",
    "model: {architecture: cnn}\ntrain: {epochs: 4}\nmembers: [{snapshots: {cycles: 4, keep_last: 2}}]\n\
     average: [{soup: {of: snapshots}}]",
    "model: {architecture: cnn}\ntrain: {epochs: 4}\nmembers: [{cross_validation: {folds: 3, keep: 2}}]",
    "model: {architecture: cnn}\ntrain: {epochs: 4, pack: 4}\nmembers: [{cross_validation: {folds: 2, keep: 1, \
     winners: configurations, grid: {train.learning_rate.max: [0.1, 0.2]}}}]",
    "model: {architecture: resnet18}\ntrain: {epochs: 4}\nmembers: [{seeds: {count: 2}}, {snapshots: {cycles: 2}}]",
    "model: {architecture: cnn}\ntrain: {epochs: 4}\nmembers: [{seeds: {count: 1}}]",
    "model: {architecture: cnn}\ntrain: {epochs: 4}\nmembers: [{seeds: {count: 4}}]\nensemble: {min_members: 2}",
    "model: {architecture: resnet18}\ntrain: {epochs: 4}\nmembers: [{snapshots: {cycles: 4, keep_last: 3}}]\n\
     average: [{soup: {of: snapshots}}]\nensemble: {min_members: 1}\nkeep: {checkpoints: 2}",
    "model: {architecture: cnn}\ntrain: {epochs: 4, pack: 2}\nmembers: [{seeds: {count: 3}}]\nkeep: {best: 1}",
];

/// How many kinds there are.
pub const COUNT: usize = KINDS.len();

/// A job of a kind. Jobs of different seeds have nothing in common, jobs of the same kind and seed all they make.
pub fn job(kind: usize, seed: u64, priority: u8, namespace: u64) -> Job {
    parse(&format!("seed: {seed}\npriority: {priority}\nnamespace: space-{namespace}\n{}", KINDS[kind]))
}

/// A job of many members, each in a task of its own.
pub fn large(members: usize, seed: u64, priority: u8, namespace: u64) -> Job {
    parse(&format!(
        "seed: {seed}\npriority: {priority}\nnamespace: space-{namespace}\nmodel: {{architecture: cnn}}\n\
         train: {{epochs: 1}}\nmembers: [{{seeds: {{count: {members}}}}}]"
    ))
}

fn parse(sections: &str) -> Job {
    Job::parse(&format!("{HEAD}{sections}"), &[]).expect("these job files are valid")
}
