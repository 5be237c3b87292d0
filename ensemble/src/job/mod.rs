//! The job file: what a user submits, as types. One YAML file is one [`Job`].
//!
//! Everything a job file may say is defined here and nowhere else: the parser, the checks, the JSON Schema for editors
//! ([`schema`]) and the defaults all come from these types. [`Job::parse`] refuses unknown keys, wrong types and
//! impossible values before anything runs, and says where, what, and what would be valid.

mod average;
mod combination;
mod data;
mod document;
mod keep;
mod members;
mod model;
mod overrides;
mod problem;
mod train;
mod validate;

pub use average::{Average, Ema, Soup, SoupOf, Swa};
pub use combination::{Combination, Combine, Select, Temperature};
pub use data::{Data, DataSummary, Format};
pub use keep::{CHECKPOINTS_MAX, Keep};
pub use members::{CrossValidation, GridValue, Members, Seeds, Snapshots, Winners};
pub use model::{Architecture, Mlp, Model, Stem, WideResNet};
pub use overrides::Override;
pub use problem::{JobFileError, Problem};
pub use train::{
    AdamOptions, AdamWOptions, Augmentation, Constant, Cosine, CosineCycles, EarlyStopping, LearningRate, OneCycle,
    Optimizer, Precision, RandomCrop, Regularize, SgdOptions, StepDecay, StopMetric, Train,
};
pub(crate) use validate::is_name;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole job: data, model, training recipe, members, averages, combination and serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What the job is called: lower-case letters, digits and dashes, at most 40 characters.
    pub name: String,
    /// Whose job it is: jobs of one namespace share the slots that its weight gives it. Written like a name.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// How urgent it is, from 1 to 99. Slots go to the highest first, and a higher one takes them from a lower one.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// The base seed: every random choice of the job derives from it. Below 2^32.
    #[serde(default)]
    pub seed: u64,
    /// What the members learn from.
    pub data: Data,
    /// The network that every member has.
    pub model: Model,
    /// How a member is trained.
    pub train: Train,
    /// Where the members of the ensemble come from; the ensemble is the union of all entries.
    pub members: Vec<Members>,
    /// Models made by averaging weights, beside the ensemble.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub average: Vec<Average>,
    /// How the members' predictions become one.
    #[serde(default)]
    pub ensemble: Combination,
    /// Present when the ensemble is to be served once the job is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<Serve>,
    /// Which artifacts of the job stay in the store.
    #[serde(default, skip_serializing_if = "Keep::is_default")]
    pub keep: Keep,
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn default_priority() -> u8 {
    50
}

/// How the finished ensemble is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// The fewest members that must answer for a prediction to count. All of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_members: Option<u32>,
}

impl Job {
    /// Reads a job file, applies `overrides` (as `--set` gives them) in order, and checks the result completely.
    ///
    /// # Errors
    /// Every problem found, each with the path of its key, the offending value and a remedy.
    pub fn parse(yaml: &str, overrides: &[Override]) -> Result<Self, JobFileError> {
        let mut document = document::from_yaml(yaml)?;
        for change in overrides {
            change.apply(&mut document)?;
        }
        Self::from_document(&document)
    }

    /// Reads a job from its JSON form, the one that travels between processes, with the same checks.
    ///
    /// # Errors
    /// As [`Job::parse`].
    pub fn from_json(json: &str) -> Result<Self, JobFileError> {
        let document = serde_json::from_str(json).map_err(|error| Problem::unreadable(error.to_string()))?;
        Self::from_document(&document)
    }

    /// The job's JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a job is maps with string keys, numbers and strings")
    }

    /// This job with `overrides` applied: how one point of a grid becomes a recipe.
    ///
    /// # Errors
    /// As [`Job::parse`].
    pub fn with(&self, overrides: &[Override]) -> Result<Self, JobFileError> {
        let mut document = serde_json::to_value(self).expect("a job is maps with string keys, numbers and strings");
        for change in overrides {
            change.apply(&mut document)?;
        }
        Self::from_document(&document)
    }

    /// This job with one plain member and nothing else that depends on which members there are: what a point of a grid
    /// is tried on.
    pub(crate) fn recipe_alone(&self) -> Self {
        let members = vec![Members::Seeds(Seeds { count: 1 })];
        let (average, ensemble, serve) = (Vec::new(), Combination::default(), None);
        Self { members, average, ensemble, serve, ..self.clone() }
    }

    /// How many members the ensemble has.
    pub fn members_total(&self) -> u64 {
        self.members.iter().map(|source| u64::from(source.count())).sum()
    }

    fn from_document(document: &serde_json::Value) -> Result<Self, JobFileError> {
        let job: Self = document::read(document)?;
        let problems = validate::problems(&job);
        if problems.is_empty() { Ok(job) } else { Err(JobFileError { problems }) }
    }

    /// Checks the job against the data it will meet: sizes that only the data decide.
    ///
    /// # Errors
    /// As [`Job::parse`].
    pub fn check_against(&self, data: &DataSummary) -> Result<(), JobFileError> {
        let problems = validate::problems_with_data(self, data);
        if problems.is_empty() { Ok(()) } else { Err(JobFileError { problems }) }
    }
}

/// The JSON Schema of the job file, for editors (`# yaml-language-server: $schema=...`).
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Job).to_value()
}
