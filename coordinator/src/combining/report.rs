//! The report of a job, from its members' files of predictions.

use super::file::{Part, Predictions, PredictionsError, read_part};
use crate::patience::{Curable, Cure};
use artifacts::{Store, StoreError};
use ensemble::cluster::Evaluated;
use ensemble::combine::{self, CombineError, ROUNDS, Tally};
use ensemble::job::{self, Combination, Select};
use ensemble::metrics::{Evaluation, Scores};
use ensemble::predictions::{Invalid, Labels, Probabilities};
use ensemble::report::{Report, ReportRow};
use ensemble::weights::{InvalidWeights, Weights};

/// A file of predictions larger than this is not read: 50,000 samples of 5,000 classes fit.
pub const PREDICTIONS_BYTES_MAX: u64 = 1 << 30;

/// All that a report is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportInput {
    /// How the members are combined.
    pub combination: Combination,
    /// The members, in the ensemble's order.
    pub members: Vec<Evaluated>,
    /// The averages, in the job file's order.
    pub averages: Vec<Evaluated>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Predictions are not in the store, or damaged there.
    #[error("the predictions of `{member}`: {error}")]
    Store {
        /// The member.
        member: String,
        /// What is wrong.
        error: StoreError,
    },
    /// Predictions are not usable.
    #[error("the predictions of `{member}`: {error}")]
    Predictions {
        /// The member.
        member: String,
        /// What is wrong.
        error: PredictionsError,
    },
    /// The members do not fit together.
    #[error("the members' predictions do not fit together: {0}")]
    Combine(#[from] CombineError),
    /// A member was evaluated on other data than the first.
    #[error("`{0}` was evaluated on other samples than the first member; is the data the same on all workers?")]
    OtherSamples(String),
    /// The weights are no weights.
    #[error("the members' weights: {0}")]
    Weights(#[from] InvalidWeights),
    /// What was asked for needs a validation part.
    #[error("`ensemble.{0}` needs a validation part; set `data.validation` above 0")]
    NeedsValidation(&'static str),
}

impl Curable for ReportError {
    fn cure(&self) -> Cure {
        match self {
            Self::Store { error, .. } => error.cure(),
            _ => Cure::None,
        }
    }
}

impl From<Invalid> for ReportError {
    fn from(error: Invalid) -> Self {
        Self::Combine(error.into())
    }
}

/// What the members say together about one part of the data.
struct Together {
    probabilities: Probabilities,
    labels: Labels,
    /// The mean share of pairs of members that differ.
    disagreement: f64,
}

/// Weights the members, combines them, fits the temperature, and scores the result.
///
/// Members are read one at a time, so that memory does not grow with their number.
pub fn report(store: &Store, input: ReportInput) -> Result<Report, ReportError> {
    let weights = weigh(store, &input)?;
    let validation = together(store, &input, &weights, Part::Validation)?;
    let test = together(store, &input, &weights, Part::Test)?;
    let temperature = temperature(&input.combination, validation.as_ref())?;
    let score = |together: &Together| scores(&temperature.apply(&together.probabilities), &together.labels);
    let ensemble = ReportRow {
        name: "ensemble".into(),
        validation: validation.as_ref().map(score).transpose()?,
        test: test.as_ref().map(score).transpose()?,
    };
    let several = weights.values().iter().filter(|weight| **weight > 0.0).count() > 1;
    let disagreement = test.or(validation).filter(|_| several).map(|together| together.disagreement);
    Ok(Report {
        members: input.members.into_iter().map(row).collect(),
        averages: input.averages.into_iter().map(row).collect(),
        ensemble,
        weights: weights.shares(),
        temperature: temperature.get(),
        disagreement,
        lost: Vec::new(),
    })
}

fn row(model: Evaluated) -> ReportRow {
    ReportRow { name: model.name, validation: model.scores.validation, test: model.scores.test }
}

fn weigh(store: &Store, input: &ReportInput) -> Result<Weights, ReportError> {
    match (&input.combination.weights, input.combination.select) {
        (_, Select::Greedy) => choose(store, &input.members),
        (Some(given), Select::All) => Ok(Weights::new(given.clone())?),
        (None, Select::All) => Ok(Weights::uniform(input.members.len())?),
    }
}

fn choose(store: &Store, members: &[Evaluated]) -> Result<Weights, ReportError> {
    let mut true_class = Vec::with_capacity(members.len());
    for member in members {
        let predictions =
            read(store, member, Part::Validation)?.ok_or(ReportError::NeedsValidation("select: greedy"))?;
        true_class.push(predictions.logits.true_class(&predictions.labels)?);
    }
    Ok(combine::select(&true_class, ROUNDS)?.weights()?)
}

fn temperature(combination: &Combination, validation: Option<&Together>) -> Result<combine::Temperature, ReportError> {
    match (combination.temperature, validation) {
        (job::Temperature::One, _) => Ok(combine::Temperature::ONE),
        (job::Temperature::Fitted, Some(validation)) => {
            Ok(combine::Temperature::fit_probabilities(&validation.probabilities, &validation.labels)?)
        }
        (job::Temperature::Fitted, None) => Err(ReportError::NeedsValidation("temperature: fitted")),
    }
}

/// Combines the members that count; none where the job has no such part of the data.
fn together(
    store: &Store,
    input: &ReportInput,
    weights: &Weights,
    part: Part,
) -> Result<Option<Together>, ReportError> {
    let mut sum: Option<(Tally, Labels)> = None;
    if input.members.len() != weights.len() {
        return Err(CombineError::WeightCount { weights: weights.len(), members: input.members.len() }.into());
    }
    for (member, weight) in input.members.iter().zip(weights.values()).filter(|(_, weight)| **weight > 0.0) {
        let Some(Predictions { logits, labels }) = read(store, member, part)? else { return Ok(None) };
        let (samples, classes) = logits.shape();
        let (tally, first) =
            sum.get_or_insert_with(|| (Tally::new(input.combination.combine, samples, classes), labels.clone()));
        if *first != labels {
            return Err(ReportError::OtherSamples(member.name.clone()));
        }
        tally.add(&logits, *weight)?;
    }
    let Some((tally, labels)) = sum else { return Ok(None) };
    let answer = tally.answer()?;
    let disagreement = answer.disagreement.iter().sum::<f64>() / answer.disagreement.len() as f64;
    Ok(Some(Together { probabilities: answer.probabilities, labels, disagreement }))
}

fn read(store: &Store, member: &Evaluated, part: Part) -> Result<Option<Predictions>, ReportError> {
    let name = || member.name.clone();
    let file = store
        .blocking_read(&member.predictions.digest, PREDICTIONS_BYTES_MAX)
        .map_err(|error| ReportError::Store { member: name(), error })?;
    read_part(&file, part).map_err(|error| ReportError::Predictions { member: name(), error })
}

fn scores(probabilities: &Probabilities, labels: &Labels) -> Result<Scores, ReportError> {
    Ok(Evaluation::new(probabilities, labels)?.scores())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ensemble::cluster::EvaluationScores;
    use safetensors::serialize;
    use safetensors::tensor::{Dtype, TensorView};
    use std::io::Write;

    /// Stores what a member answers on each part: logits `[N, 2]`, each row against its label.
    fn evaluated(store: &Store, name: &str, parts: &[&str], rows: &[([f32; 2], i64)]) -> Evaluated {
        let logits: Vec<u8> =
            rows.iter().flat_map(|(logits, _)| logits).flat_map(|logit| logit.to_le_bytes()).collect();
        let labels: Vec<u8> = rows.iter().flat_map(|(_, label)| label.to_le_bytes()).collect();
        let logits = TensorView::new(Dtype::F32, vec![rows.len(), 2], &logits).unwrap();
        let labels = TensorView::new(Dtype::I64, vec![rows.len()], &labels).unwrap();
        let tensors = parts
            .iter()
            .flat_map(|part| [(format!("{part}.logits"), logits.clone()), (format!("{part}.labels"), labels.clone())]);
        let mut draft = store.blocking_draft().unwrap();
        draft.write_all(&serialize(tensors, None).unwrap()).unwrap();
        let predictions = draft.commit().unwrap();
        Evaluated { name: name.into(), predictions, scores: EvaluationScores::default() }
    }

    fn with_store(check: impl FnOnce(&Store)) {
        let folder = tempfile::tempdir().unwrap();
        check(&Store::open_folder(folder.path().to_owned()).unwrap());
    }

    fn combination(select: Select, temperature: job::Temperature) -> Combination {
        Combination { select, temperature, ..Combination::default() }
    }

    const BOTH: &[&str] = &["validation", "test"];

    /// Overconfident by a factor of two: three of four rows are right, at logits twice the log odds of three to one.
    fn overconfident() -> Vec<([f32; 2], i64)> {
        let confident = 2.0 * 3.0_f32.ln();
        [0, 0, 0, 1].map(|label| ([confident, 0.0], label)).to_vec()
    }

    #[test]
    fn a_fitted_temperature_undoes_confidence_that_is_twice_too_high() {
        with_store(|store| {
            let members = vec![evaluated(store, "seed-0", BOTH, &overconfident())];
            let combination = combination(Select::All, job::Temperature::Fitted);
            let report = report(store, ReportInput { combination, members, averages: vec![] }).unwrap();
            assert!((report.temperature - 2.0).abs() < 1e-6, "{}", report.temperature);
            let entropy = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
            assert!((report.ensemble.test.unwrap().nll - entropy).abs() < 1e-6);
            assert_eq!(report.disagreement, None, "one member disagrees with nobody");
        });
    }

    #[test]
    fn greedy_selection_leaves_a_member_out_that_only_harms() {
        with_store(|store| {
            let wrong: Vec<_> = overconfident().iter().map(|(_, label)| ([0.0, 9.0], *label)).collect();
            let members =
                vec![evaluated(store, "seed-0", BOTH, &wrong), evaluated(store, "seed-1", BOTH, &overconfident())];
            let combination = combination(Select::Greedy, job::Temperature::One);
            let report = report(store, ReportInput { combination, members, averages: vec![] }).unwrap();
            assert!(report.weights[0] < 0.5 && report.weights[1] > 0.5, "{:?}", report.weights);
            assert!((report.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        });
    }

    #[test]
    fn what_cannot_be_combined_is_named_with_the_remedy() {
        with_store(|store| {
            let rows = overconfident();
            let check = |combination: Combination, members: Vec<Evaluated>, words: &[&str]| {
                let error =
                    report(store, ReportInput { combination, members, averages: vec![] }).unwrap_err().to_string();
                words.iter().for_each(|word| assert!(error.contains(word), "{error}"));
            };
            let one = || vec![evaluated(store, "seed-0", &["test"], &rows)];
            check(combination(Select::Greedy, job::Temperature::One), one(), &["select", "data.validation"]);
            check(combination(Select::All, job::Temperature::Fitted), one(), &["temperature", "data.validation"]);
            let mut other = rows.clone();
            other.reverse();
            let two = vec![evaluated(store, "seed-0", BOTH, &rows), evaluated(store, "seed-1", BOTH, &other)];
            check(Combination::default(), two, &["seed-1", "other samples"]);
        });
    }
}
