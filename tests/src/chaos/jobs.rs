//! The jobs that go through chaos, and what they yield.

use super::observer::Observer;
use ensemble::job::Job;
use ensemble::report::Report;
use proto::v1::JobPhase;
use std::collections::BTreeMap;
use std::path::Path;

/// Every way to a member and every average: convolutions with batch norm, augmentation, checkpoints at each epoch.
const STORY: &str = "
name: story
seed: 7
data: {format: idx, path: DATA, validation: 0.1}
model: {architecture: cnn}
train:
  epochs: 6
  batch_size: 64
  learning_rate: {cosine: {max: 0.05}}
  regularize: {dropout: 0.1}
  augment: [{random_crop: {padding: 2}}, horizontal_flip]
members:
  - seeds: {count: 2}
  - snapshots: {cycles: 2}
  - cross_validation: {folds: 3, keep: 1}
average:
  - ema: {decay: 0.9}
  - swa: {start: 0.5, learning_rate: 0.02}
  - soup: {of: snapshots}
";

/// Many short runs that go before all others, so that those have to yield.
const URGENT: &str = "
name: urgent
seed: 3
priority: 80
data: {format: idx, path: DATA, validation: 0.1}
model: {architecture: {mlp: {hidden: [64]}}}
train: {epochs: 8, batch_size: 32, optimizer: {adamw: {}}, learning_rate: {constant: {max: 0.001}}}
members: [seeds: {count: 3}]
average: [ema: {decay: 0.99}]
";

/// A kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Story,
    Urgent,
}

impl Kind {
    /// All of them, in the order in which they are submitted over and over.
    pub const ALL: [Self; 2] = [Self::Story, Self::Urgent];

    fn file(self) -> &'static str {
        match self {
            Self::Story => STORY,
            Self::Urgent => URGENT,
        }
    }
}

/// A job that was submitted.
#[derive(Clone, Debug)]
pub struct Order {
    pub kind: Kind,
    pub job: String,
}

impl Order {
    /// Submits a job of this kind on the data in a folder, the `number`th of all.
    pub fn submit(observer: &Observer, kind: Kind, data: &Path, number: usize) -> Self {
        let job = Job::parse(&kind.file().replace("DATA", &data.display().to_string()), &[]).unwrap();
        let (key, json) = (format!("order-{number}"), serde_json::to_string(&job).unwrap());
        let job = observer.submit(&key, &json);
        // An acknowledgment may be lost as well: the same key again is the same job.
        assert_eq!(observer.submit(&key, &json), job);
        Self { kind, job }
    }
}

/// Whether a job is done. Anything else that ends it is a loss.
pub fn is_done(job: &proto::v1::Job) -> bool {
    match job.phase() {
        JobPhase::Done => true,
        JobPhase::Running => false,
        phase => panic!("{} is lost: {phase:?}, {}", job.id, job.detail),
    }
}

/// The models that a job which is done keeps, by what they are.
pub fn kept_models(observer: &Observer, job: &str) -> BTreeMap<String, String> {
    let mut models = BTreeMap::new();
    for what in ["ensemble", "average"] {
        models.extend(
            observer.models(job, what).into_iter().map(|model| (format!("{what} {}", model.name), model.digest)),
        );
    }
    let members = observer.members(job).into_iter();
    models.extend(members.map(|member| (format!("member {}", member.name), member.digest)));
    models
}

/// All that a job leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub report: Report,
    /// Digests of models, by what they are.
    pub artifacts: BTreeMap<String, String>,
}

impl Outcome {
    /// Of a job that is done.
    pub fn of(observer: &Observer, job: &str) -> Self {
        let mut artifacts = kept_models(observer, job);
        let kept = observer.checkpoints(job).into_iter().filter(|known| known.kind != "checkpoint");
        artifacts.extend(kept.map(|known| (format!("{} {} {}", known.run, known.kind, known.step), known.digest)));
        Self { report: serde_json::from_str(&observer.report(job)).unwrap(), artifacts }
    }
}
