//! The report of a job: what its members, averages and ensemble scored, and how much the members disagree.

use crate::metrics::Scores;
use serde::{Deserialize, Serialize};

/// The report of a finished job. Its JSON form is what `tutti report --output json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Each member, in the ensemble's order, but for those that are lost.
    pub members: Vec<ReportRow>,
    /// Each average, in the job file's order, but for those that are lost.
    pub averages: Vec<ReportRow>,
    /// The members' predictions combined.
    pub ensemble: ReportRow,
    /// The weight of each member in the ensemble, in the members' order; they sum to 1.
    pub weights: Vec<f64>,
    /// What the ensemble's logits are divided by.
    pub temperature: f64,
    /// The mean share of test samples on which two members differ in the predicted class; absent with one member.
    pub disagreement: Option<f64>,
    /// Members and averages that the job finished without; they stand in none of the lists above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostRow>,
}

/// A member or an average that the job could not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRow {
    /// What it is called.
    pub name: String,
    /// Why it is lost.
    pub why: String,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportRow {
    /// What it is called: `seed-0`, `snapshot-3`, `fold-1`, `ema`, `swa`, `soup`, `ensemble`.
    pub name: String,
    /// Scores on the validation part, if the job holds one out.
    pub validation: Option<Scores>,
    /// Scores on the test part.
    pub test: Option<Scores>,
}
