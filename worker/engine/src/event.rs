//! What a task says while it works, and how it is told to stop.

use std::path::PathBuf;

use ensemble::run::ModelKind;

use crate::scoring::Score;

/// Something that whoever started a task wants to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// How far a run is.
    Progress {
        /// The run's index.
        run: u32,
        /// How far.
        progress: Progress,
    },
    /// One more batch is done in a task, or a part of one, that has nothing else to say meanwhile. Whoever watches over the
    /// engine sees that it gets further.
    Further,
    /// A file from which a run can go on.
    Checkpoint {
        /// The run's index.
        run: u32,
        /// Steps done.
        step: u64,
        /// The branch point at which it stands, by its place in the run's list.
        branch: Option<u32>,
        /// The file, which is the receiver's from now on.
        path: PathBuf,
    },
    /// A model of a run.
    Model {
        /// The run's index.
        run: u32,
        /// Which of its models.
        kind: ModelKind,
        /// Whether it has batch-norm statistics.
        batch_norm: bool,
        /// The file, which is the receiver's from now on.
        path: PathBuf,
    },
    /// A line for people.
    Log(String),
}

/// How far a run is, and what its last steps were like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Epochs done, with the part of the one at work.
    pub epoch: f64,
    /// Mean over the steps since the last report.
    pub loss: f64,
    /// On the training batches since the last report.
    pub accuracy: f64,
    /// Of the last step.
    pub learning_rate: f64,
    /// Since the last report.
    pub steps_per_second: f64,
    /// The newest score on the validation part, or on the held-out fold.
    pub score: Option<Score>,
}

/// Whoever started a task.
pub trait Listener {
    /// Takes note of something.
    fn tell(&mut self, event: Event);

    /// Whether the task shall be given up. Asked before every step.
    fn must_stop(&self) -> bool;
}
