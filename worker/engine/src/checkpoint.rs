//! The resumable state of one run: everything that a bit-identical continuation needs, and nothing of the pack.
//!
//! Random streams need no state: they are keyed by seed and step.

use std::path::Path;

use ensemble::run::{Goal, Run};

use crate::artifact::{self, ArtifactError, Metadata, Tensors, parsed, prefixed, under};
use crate::error::TaskError;
use crate::scoring::Score;

/// The state of one run after some steps.
#[derive(Debug)]
pub struct Checkpoint {
    /// The run.
    pub run: Run,
    /// Steps done.
    pub step: u64,
    /// Weights and buffers.
    pub model: Tensors,
    /// The optimizer's state, `NAME.SLOT`.
    pub optimizer: Tensors,
    /// Parameters of each average kept along the way, by its place in the job's list.
    pub averages: Vec<(u32, Tensors)>,
    /// How many models the stochastic weight average is the mean of.
    pub swa_count: u64,
    /// Best weights so far, and how long ago: for runs that stop early.
    pub best: Option<Best>,
    /// Whether the run has ended.
    pub is_done: bool,
}

/// The best weights of a run that may stop early.
#[derive(Debug)]
pub struct Best {
    /// Their score.
    pub score: Score,
    /// Steps behind them.
    pub step: u64,
    /// Epochs since without a better score.
    pub epochs_since: u32,
    /// The weights and buffers.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// Whether no weight is infinite or none.
    pub fn is_finite(&self) -> Result<bool, TaskError> {
        Ok(artifact::is_finite(&self.model)?)
    }

    /// Writes it to `path`.
    pub fn write(self, path: &Path) -> Result<(), TaskError> {
        let metadata = self.to_metadata();
        let mut tensors = prefixed("model.", self.model);
        tensors.extend(self.optimizer.into_iter().map(|(name, tensor)| (by_slot(&name), tensor)));
        for (index, average) in self.averages {
            tensors.extend(prefixed(&format!("average.{index}."), average));
        }
        tensors.extend(self.best.into_iter().flat_map(|best| prefixed("best.", best.tensors)));
        artifact::write(path, &tensors, &metadata).map_err(|source| TaskError::Artifact { path: path.into(), source })
    }

    fn to_metadata(&self) -> Metadata {
        let averages: Vec<String> = self.averages.iter().map(|(index, _)| index.to_string()).collect();
        let mut notes = vec![
            ("run", serde_json::to_string(&self.run).expect("a run is plain data")),
            ("step", self.step.to_string()),
            ("averages", averages.join(",")),
            ("swa_count", self.swa_count.to_string()),
            ("is_done", self.is_done.to_string()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        if let Some(best) = &self.best {
            notes.push(("best_accuracy", best.score.accuracy.to_string()));
            notes.push(("best_nll", best.score.nll.to_string()));
            notes.push(("best_step", best.step.to_string()));
            notes.push(("best_epochs_since", best.epochs_since.to_string()));
        }
        notes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads a checkpoint for `run` to go on from.
    ///
    /// # Errors
    /// When the file is damaged, or is neither `run`'s own nor that of the run which `run` branches from.
    pub fn read(path: &Path, run: &Run) -> Result<Self, TaskError> {
        let artifact = |source| TaskError::Artifact { path: path.into(), source };
        let (tensors, notes) = artifact::read(path).map_err(artifact)?;
        let checkpoint = Self::from_parts(&tensors, &notes).map_err(artifact)?;
        checkpoint.start_of(run, path)
    }

    fn from_parts(tensors: &Tensors, notes: &Metadata) -> Result<Self, ArtifactError> {
        let averages: Vec<u32> = parsed(notes, "averages", parse_list)?;
        let of_average = |index: u32| (index, under(tensors, &format!("average.{index}.")));
        Ok(Self {
            run: parsed(notes, "run", |text| serde_json::from_str(text))?,
            step: parsed(notes, "step", str::parse)?,
            model: under(tensors, "model."),
            optimizer: under(tensors, "optimizer.").into_iter().map(|(name, t)| (by_name(&name), t)).collect(),
            averages: averages.into_iter().map(of_average).collect(),
            swa_count: parsed(notes, "swa_count", str::parse)?,
            best: notes.contains_key("best_step").then(|| Best::from_parts(tensors, notes)).transpose()?,
            is_done: parsed(notes, "is_done", str::parse)?,
        })
    }

    /// A run goes on where it was; a branch takes over the weights and the optimizer's state, and begins its own count.
    fn start_of(self, run: &Run, path: &Path) -> Result<Self, TaskError> {
        let is_own = (self.run.index, self.run.seed) == (run.index, run.seed);
        let is_parents = matches!(run.goal, Goal::Swa { from_run, .. } if from_run == self.run.index);
        match (is_own, is_parents) {
            (true, _) => Ok(self),
            (false, true) => Ok(Self { averages: Vec::new(), swa_count: 0, best: None, is_done: false, ..self }),
            (false, false) => Err(TaskError::Job(format!(
                "{}: it is a checkpoint of run `{}` (seed {}), from which `{}` (seed {}) cannot go on",
                path.display(),
                self.run.name,
                self.run.seed,
                run.name,
                run.seed
            ))),
        }
    }
}

impl Best {
    fn from_parts(tensors: &Tensors, notes: &Metadata) -> Result<Self, ArtifactError> {
        let score = Score {
            accuracy: parsed(notes, "best_accuracy", str::parse)?,
            nll: parsed(notes, "best_nll", str::parse)?,
        };
        Ok(Self {
            score,
            step: parsed(notes, "best_step", str::parse)?,
            epochs_since: parsed(notes, "best_epochs_since", str::parse)?,
            tensors: under(tensors, "best."),
        })
    }
}

/// `fc.weight.exp_avg` as `optimizer.exp_avg.fc.weight`: in a file, what belongs together stands together.
fn by_slot(name: &str) -> String {
    let (parameter, slot) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("optimizer.{slot}.{parameter}")
}

/// The reverse of [`by_slot`], without `optimizer.`.
fn by_name(name: &str) -> String {
    let (slot, parameter) = name.split_once('.').unwrap_or((name, ""));
    format!("{parameter}.{slot}")
}

fn parse_list(text: &str) -> Result<Vec<u32>, std::num::ParseIntError> {
    text.split(',').filter(|item| !item.is_empty()).map(str::parse).collect()
}
