//! Models: everything that is evaluated.

use super::super::task::{TaskKind, TaskState};
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
    /// What it was before its batch-norm statistics were its own: from there a damaged model is soon made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Stored>,
    /// What it was when it was evaluated, if that has been damaged since. The same bytes again need no evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Box<Evaluation>>,
    /// Whether its contest has counted it in.
    #[serde(default)]
    pub counted: bool,
    /// The task that calibrates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<u32>,
    /// The task that evaluates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<u32>,
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
///
///   all but Evaluated ── what makes it failed for good ──▶ Lost
///   all ── damaged in the store ──▶ what its maker starts from
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
    /// There will be none, or none with scores.
    Lost(Lost),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Lost {
    pub why: String,
    /// The model, if it is only its evaluation that failed.
    pub stored: Option<Stored>,
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
        Self {
            name,
            source,
            contest,
            members: Vec::new(),
            state: ModelState::Planned,
            raw: None,
            known: None,
            counted: false,
            calibration: None,
            evaluation: None,
        }
    }

    /// What is known of it: that stands even if the bytes that it is known of are damaged.
    pub fn scores(&self) -> Option<&EvaluationScores> {
        let evaluation = self.state.evaluation().or(self.known.as_deref());
        evaluation.map(|evaluation| &evaluation.scores)
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.state, ModelState::Lost(_))
    }
}

impl ModelState {
    /// The model as it is evaluated and served.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Planned | Self::Averaging | Self::Calibrating(_) => None,
            Self::Stored(stored) => Some(stored),
            Self::Evaluated(evaluation) => Some(&evaluation.stored),
            Self::Lost(lost) => lost.stored.as_ref(),
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
            let task = self.models[model as usize].calibration;
            let task = self.renew_task(task, TaskKind::Calibrate { model }, followup);
            let entry = &mut self.models[model as usize];
            entry.state = ModelState::Calibrating(Calibration { raw: stored.clone() });
            entry.raw = Some(stored);
            entry.calibration = Some(task);
        } else {
            self.keep(model, stored, followup);
        }
    }

    /// Takes a model as it will be served, and has it evaluated unless the very same was.
    pub fn keep(&mut self, model: u32, stored: Stored, followup: &mut Followup) {
        if let Some(known) = self.take_known(model, &stored) {
            self.models[model as usize].state = ModelState::Evaluated(known);
            self.open.models -= 1;
        } else {
            let task = self.models[model as usize].evaluation;
            let task = self.renew_task(task, TaskKind::Evaluate { model }, followup);
            let entry = &mut self.models[model as usize];
            (entry.state, entry.evaluation) = (ModelState::Stored(stored), Some(task));
        }
        for member in self.models[model as usize].members.clone() {
            self.add_to_soups(member, followup);
        }
    }

    /// What is known of these very bytes, predictions included.
    fn take_known(&mut self, model: u32, stored: &Stored) -> Option<Box<Evaluation>> {
        let entry = &mut self.models[model as usize];
        let evaluated = matches!(self.tasks[entry.evaluation? as usize].state, TaskState::Done(_));
        entry.known.take_if(|known| evaluated && known.stored.artifact == stored.artifact)
    }

    /// Whether an evaluation's scores leave out what must be there.
    pub fn lacks_scores(&self, model: u32, scores: &EvaluationScores) -> bool {
        self.models[model as usize].contest.is_some() && scores.held_out.is_none()
    }

    pub fn evaluate(&mut self, model: u32, predictions: Artifact, scores: EvaluationScores, followup: &mut Followup) {
        let entry = &mut self.models[model as usize];
        let stored = entry.state.stored().expect("what was evaluated is stored").clone();
        entry.state = ModelState::Evaluated(Box::new(Evaluation { stored, predictions, scores }));
        entry.known = None;
        self.open.models -= 1;
        self.count_in(model, followup);
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
            let (ModelSource::Soup(soup), ModelState::Planned) = (&mut entry.source, &entry.state) else { continue };
            soup.missing -= 1;
            if soup.missing == 0 {
                entry.state = ModelState::Averaging;
                followup.effects.extend(self.averaging(model));
            }
        }
    }

    /// Looks through the members of a soup that is not made yet, and has it averaged if they are all there.
    pub(super) fn recount(&mut self, model: u32, followup: &mut Followup) {
        let ModelSource::Soup(soup) = &self.models[model as usize].source else { return };
        let stored = |&member: &u32| {
            let model = self.members[member as usize].model?;
            self.models[model as usize].state.stored()
        };
        let missing = soup.members.iter().filter(|member| stored(member).is_none()).count();
        let entry = &mut self.models[model as usize];
        if let ModelSource::Soup(soup) = &mut entry.source {
            soup.missing = missing;
        }
        entry.state = if missing == 0 { ModelState::Averaging } else { ModelState::Planned };
        if missing == 0 {
            followup.effects.extend(self.averaging(model));
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
