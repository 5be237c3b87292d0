//! Models: everything that is evaluated.

use super::super::task::TaskKind;
use super::super::{EvaluationScores, Millis};
use super::{Followup, JobState};
use crate::expand::ModelRef;
use crate::run::Artifact;
use serde::{Deserialize, Serialize};

/// A model that a run yields or the coordinator makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Model {
    /// What it is called beside other models: its run, or the average that it is.
    pub name: String,
    pub source: ModelSource,
    /// The contest that it takes part in.
    pub contest: Option<u32>,
    /// The members that it is.
    pub members: Vec<u32>,
    pub state: ModelState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) enum ModelSource {
    Run(ModelRef),
    Soup(Soup),
}

/// A mean of members that the coordinator makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Soup {
    /// Its place in the job's averages.
    pub average: u32,
    /// What it is made of; never empty.
    pub members: Vec<u32>,
    /// How many of them have no model yet.
    pub missing: usize,
}

/// How far a model is.
///
/// ```text
///           a run yields it
///   Planned ──────────────────┬──────────▶ Stored ── evaluated ──▶ Evaluated
///      │                      ▼               ▲
///      └─▶ Averaging ──▶ Calibrating ─────────┘
///    (a soup)     └───────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) enum ModelState {
    /// There is nothing yet.
    Planned,
    /// The coordinator is at it.
    Averaging,
    /// Its batch-norm statistics are not its own yet.
    Calibrating(Calibration),
    /// It is in the store and waits to be evaluated.
    Stored(Stored),
    /// It has predicted all parts of the data.
    Evaluated(Box<Evaluation>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Calibration {
    pub raw: Stored,
}

/// A model in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Stored {
    pub artifact: Artifact,
    pub committed: Millis,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Evaluation {
    pub stored: Stored,
    pub predictions: Artifact,
    pub scores: EvaluationScores,
}

impl Model {
    pub fn new(name: String, source: ModelSource, contest: Option<u32>) -> Self {
        Self { name, source, contest, members: Vec::new(), state: ModelState::Planned }
    }
}

impl ModelState {
    /// The model as it is evaluated and served.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Planned | Self::Averaging | Self::Calibrating(_) => None,
            Self::Stored(stored) => Some(stored),
            Self::Evaluated(evaluation) => Some(&evaluation.stored),
        }
    }

    pub fn evaluation(&self) -> Option<&Evaluation> {
        match self {
            Self::Evaluated(evaluation) => Some(evaluation),
            _ => None,
        }
    }
}

impl JobState {
    /// Takes a model that has reached the store for the first time. An average whose network normalises by batch has
    /// statistics that belong to none of the weights it was made of, so it is calibrated first.
    pub fn store(&mut self, model: u32, stored: Stored, calibrate: bool, followup: &mut Followup) {
        if calibrate {
            self.models[model as usize].state = ModelState::Calibrating(Calibration { raw: stored });
            self.add_task(TaskKind::Calibrate { model }, false, followup);
        } else {
            self.keep(model, stored, followup);
        }
    }

    /// Takes a model as it will be served, and has it evaluated.
    pub fn keep(&mut self, model: u32, stored: Stored, followup: &mut Followup) {
        self.models[model as usize].state = ModelState::Stored(stored);
        self.add_task(TaskKind::Evaluate { model }, false, followup);
        for member in self.models[model as usize].members.clone() {
            self.add_to_soups(member, followup);
        }
    }

    /// Whether an evaluation's scores leave out what must be there.
    pub fn lacks_scores(&self, model: u32, scores: &EvaluationScores) -> bool {
        self.models[model as usize].contest.is_some() && scores.held_out.is_none()
    }

    pub fn evaluate(&mut self, model: u32, predictions: Artifact, scores: EvaluationScores, followup: &mut Followup) {
        let entry = &mut self.models[model as usize];
        let stored = entry.state.stored().expect("what was evaluated is stored").clone();
        entry.state = ModelState::Evaluated(Box::new(Evaluation { stored, predictions, scores }));
        self.open.models -= 1;
        if let Some(contest) = self.models[model as usize].contest {
            self.count_in(contest, followup);
        }
    }

    /// Gives a member's place to a model.
    pub fn place(&mut self, member: u32, model: u32, followup: &mut Followup) {
        self.members[member as usize].model = Some(model);
        self.members[member as usize].name.clone_from(&self.models[model as usize].name);
        self.models[model as usize].members.push(member);
        if self.models[model as usize].state.stored().is_some() {
            self.add_to_soups(member, followup);
        }
    }

    /// Has every soup averaged that waited for this member as the last.
    fn add_to_soups(&mut self, member: u32, followup: &mut Followup) {
        for model in self.members[member as usize].soups.clone() {
            let entry = &mut self.models[model as usize];
            let ModelSource::Soup(soup) = &mut entry.source else { continue };
            soup.missing -= 1;
            if soup.missing == 0 {
                entry.state = ModelState::Averaging;
                followup.effects.extend(self.averaging(model));
            }
        }
    }

    /// What the coordinator is asked to do for a soup whose members are there.
    pub fn averaging(&self, model: u32) -> Option<super::Effect> {
        let ModelSource::Soup(soup) = &self.models[model as usize].source else { return None };
        let of = |member: &u32| self.models[self.members[*member as usize].model? as usize].state.stored();
        let models = soup.members.iter().filter_map(of).map(|stored| stored.artifact.clone()).collect();
        Some(super::Effect::Average { job: self.id.clone(), average: soup.average, models })
    }
}
