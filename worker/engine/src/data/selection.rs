//! Which samples of the training files a run learns from, and which it is scored on.

use ensemble::dataset::{Split, fold, validation};
use ensemble::job::Job;
use ensemble::run::Samples;

/// The parts of the training files, as one run sees them: indices in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// What it learns from.
    pub training: Vec<i64>,
    /// The job's validation part; empty if there is none.
    pub validation: Vec<i64>,
    /// The fold that it does not see; empty for other runs.
    pub held_out: Vec<i64>,
}

impl Selection {
    /// The selection of a run of `job`. The splits are keyed by the job's seed, so that all runs of a job agree.
    pub fn new(job: &Job, samples: Samples, labels: &[u32]) -> Self {
        let Split { training, held_out } = validation(labels, job.data.validation, job.seed);
        let validation = indices(held_out);
        match samples {
            Samples::Training => Self { training: indices(training), validation, held_out: Vec::new() },
            Samples::AllButFold { fold: number, folds } => {
                let split = fold(labels, &training, number, folds, job.seed);
                Self { training: indices(split.training), validation, held_out: indices(split.held_out) }
            }
        }
    }

    /// What the run is scored on while it trains: its held-out fold if it has one, else the validation part.
    pub fn scored(&self) -> &[i64] {
        if self.held_out.is_empty() { &self.validation } else { &self.held_out }
    }
}

fn indices(samples: Vec<u32>) -> Vec<i64> {
    samples.into_iter().map(i64::from).collect()
}
