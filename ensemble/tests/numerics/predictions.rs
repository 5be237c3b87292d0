//! Scores, combinations, temperatures and selections against scikit-learn and scipy, and the edges of each.

use crate::{assert_all_close, assert_close};
use ensemble::combine::{CombineError, Tally, Temperature, combine, select};
use ensemble::job::Combine;
use ensemble::metrics::{self, Evaluation, Scores};
use ensemble::predictions::{Invalid, Labels, Logits, Probabilities};
use ensemble::weights::Weights;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Golden {
    classes: usize,
    labels: Vec<u32>,
    weights: Vec<f64>,
    logits: Vec<Vec<f32>>,
    members: Vec<Scores>,
    combined: BTreeMap<String, Vec<f64>>,
    combined_scores: BTreeMap<String, Scores>,
    disagreement: f64,
    entropy: Vec<f64>,
    mutual_information: Vec<f64>,
    temperatures: Vec<f64>,
    ensemble_temperature: f64,
    greedy: Greedy,
}

#[derive(Deserialize)]
struct Greedy {
    chosen: Vec<usize>,
    losses: Vec<f64>,
}

impl Golden {
    fn read() -> Self {
        serde_json::from_str(include_str!("golden/predictions.json")).unwrap()
    }

    fn members(&self) -> Vec<Logits> {
        self.logits.iter().map(|logits| Logits::new(logits.clone(), self.classes).unwrap()).collect()
    }

    fn labels(&self) -> Labels {
        Labels::new(self.labels.clone(), self.classes).unwrap()
    }

    fn weights(&self) -> Weights {
        Weights::new(self.weights.clone()).unwrap()
    }
}

const RULES: [(Combine, &str); 3] = [
    (Combine::MeanProbability, "mean_probability"),
    (Combine::MeanLogit, "mean_logit"),
    (Combine::MajorityVote, "majority_vote"),
];

fn assert_scores(found: Scores, expected: Scores, what: &str) {
    assert_eq!(found.samples, expected.samples);
    assert_close(found.accuracy, expected.accuracy, 1e-14, what);
    assert_close(found.nll, expected.nll, 1e-14, what);
    assert_close(found.brier, expected.brier, 1e-14, what);
    assert_close(found.ece, expected.ece, 1e-14, what);
}

fn score(probabilities: &Probabilities, labels: &Labels) -> Scores {
    Evaluation::new(probabilities, labels).unwrap().scores()
}

#[test]
fn scores_are_those_of_scikit_learn() {
    let golden = Golden::read();
    for (member, expected) in golden.members().iter().zip(&golden.members) {
        assert_scores(score(&member.softmax(), &golden.labels()), *expected, "member");
    }
}

#[test]
fn combinations_are_those_of_numpy() {
    let golden = Golden::read();
    let members = golden.members();
    for (rule, name) in RULES {
        let combined = combine(rule, &members.iter().collect::<Vec<_>>(), &golden.weights()).unwrap();
        if let Some(expected) = golden.combined_scores.get(name) {
            assert_scores(score(&combined, &golden.labels()), *expected, name);
        }
        assert_all_close(&combined.into_values(), &golden.combined[name], 1e-14, name);
    }
}

#[test]
fn diversity_is_that_of_numpy_and_scipy() {
    let golden = Golden::read();
    let members: Vec<_> = golden.members().iter().map(Logits::softmax).collect();
    let members: Vec<_> = members.iter().collect();
    assert_close(metrics::disagreement(&members).unwrap(), golden.disagreement, 1e-14, "disagreement");
    let information = metrics::mutual_information(&members).unwrap();
    assert_all_close(&information, &golden.mutual_information, 1e-14, "mutual information");
}

#[test]
fn a_tally_merged_from_two_workers_is_the_whole_combination() {
    let golden = Golden::read();
    let members = golden.members();
    let shape = members[0].shape();
    for (rule, name) in RULES {
        let mut workers = [Tally::new(rule, shape.0, shape.1), Tally::new(rule, shape.0, shape.1)];
        for (at, (member, weight)) in members.iter().zip(&golden.weights).enumerate() {
            workers[at % 2].add(member, *weight).unwrap();
        }
        let [mut first, second] = workers;
        first.merge(&second).unwrap();
        let answer = first.answer().unwrap();
        assert_eq!(answer.members, 4);
        assert_all_close(&answer.probabilities.into_values(), &golden.combined[name], 1e-14, name);
    }
}

#[test]
fn a_tally_knows_how_uncertain_it_is() {
    let golden = Golden::read();
    let members = golden.members();
    let mut tally = Tally::new(Combine::MeanLogit, golden.labels.len(), golden.classes);
    members.iter().for_each(|member| tally.add(member, 1.0).unwrap());
    let answer = tally.answer().unwrap();
    assert_all_close(&answer.entropy, &golden.entropy, 1e-14, "entropy");
    assert_all_close(&answer.mutual_information, &golden.mutual_information, 1e-14, "mutual information");
    let mean = answer.disagreement.iter().sum::<f64>() / golden.labels.len() as f64;
    assert_close(mean, golden.disagreement, 1e-14, "disagreement");
    assert_eq!(answer.predicted, answer.probabilities.predicted());
    assert!(answer.agreeing.iter().all(|&agreeing| agreeing <= 4));
}

#[test]
fn temperatures_are_those_of_a_general_minimizer() {
    let golden = Golden::read();
    for (member, expected) in golden.members().iter().zip(&golden.temperatures) {
        let found = Temperature::fit(member, &golden.labels()).unwrap();
        // The table's minimizer compares losses, which tells temperatures apart to about the root of 1e-16.
        assert_close(found.get(), *expected, 1e-6, "temperature");
    }
    let members = golden.members();
    let uniform = Weights::uniform(4).unwrap();
    let ensemble = combine(Combine::MeanProbability, &members.iter().collect::<Vec<_>>(), &uniform).unwrap();
    let found = Temperature::fit_probabilities(&ensemble, &golden.labels()).unwrap();
    assert_close(found.get(), golden.ensemble_temperature, 1e-6, "ensemble temperature");
    let before = score(&ensemble, &golden.labels());
    let after = score(&found.apply(&ensemble), &golden.labels());
    assert!(after.nll < before.nll);
    assert_eq!(after.accuracy, before.accuracy);
}

#[test]
fn greedy_selection_is_that_of_a_plain_search() {
    let golden = Golden::read();
    let labels = golden.labels();
    let candidates: Vec<_> = golden.members().iter().map(|member| member.true_class(&labels).unwrap()).collect();
    let selection = select(&candidates, 12).unwrap();
    assert_eq!(selection.chosen, golden.greedy.chosen);
    assert_all_close(&selection.losses, &golden.greedy.losses, 1e-13, "losses");
    let weights = selection.weights().unwrap();
    assert_eq!(weights.sum(), selection.chosen.len() as f64);
    let members = golden.members();
    let combined = combine(Combine::MeanProbability, &members.iter().collect::<Vec<_>>(), &weights).unwrap();
    assert_close(score(&combined, &labels).nll, selection.loss(), 1e-13, "loss of the selection");
}

#[test]
fn equal_candidates_tie_for_the_first_and_one_round() {
    let same = vec![0.2, 0.7, 0.9];
    let selection = select(&[same.clone(), same.clone(), same], 25).unwrap();
    assert_eq!(selection.chosen, [0]);
    assert_eq!(selection.counts, [1, 0, 0]);
    assert_eq!(selection.losses.len(), 25);
}

#[test]
fn votes_tie_for_the_lowest_class() {
    let first = Logits::new(vec![0.0, 0.0, 5.0], 3).unwrap();
    let second = Logits::new(vec![0.0, 5.0, 0.0], 3).unwrap();
    let third = Logits::new(vec![1.0, 0.0, 1.0], 3).unwrap();
    let uniform = Weights::uniform(3).unwrap();
    let combined = combine(Combine::MajorityVote, &[&first, &second, &third], &uniform).unwrap();
    assert_eq!(combined.predicted(), [0]);
    assert_all_close(&combined.into_values(), &[1.0 / 3.0; 3], 1e-15, "shares");
}

#[test]
fn a_certain_mistake_costs_much_but_not_infinity() {
    let wrong = Probabilities::new(vec![1.0, 0.0], 2).unwrap();
    let labels = Labels::new(vec![1], 2).unwrap();
    let scores = score(&wrong, &labels);
    assert_close(scores.nll, 36.043_653_389_117_15, 1e-15, "nll");
    assert_eq!((scores.accuracy, scores.brier, scores.ece), (0.0, 2.0, 1.0));
}

#[test]
fn a_sample_at_the_edge_of_a_bin_belongs_to_the_lower_one() {
    let at_edge = Probabilities::new(vec![0.8, 0.2, 1.0, 0.0], 2).unwrap();
    let labels = Labels::new(vec![0, 0], 2).unwrap();
    let bins = Evaluation::new(&at_edge, &labels).unwrap().reliability();
    let filled: Vec<_> = (0..).zip(&bins).filter(|(_, bin)| bin.samples > 0).map(|(at, _)| at).collect();
    assert_eq!(filled, [11, 14]);
}

#[test]
fn separable_data_ends_at_the_coldest_temperature_and_noise_at_the_hottest() {
    let labels = Labels::new(vec![0, 1], 2).unwrap();
    let right = Logits::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
    let wrong = Logits::new(vec![0.0, 1.0, 1.0, 0.0], 2).unwrap();
    let flat = Logits::new(vec![1.0; 4], 2).unwrap();
    let fit = |logits| Temperature::fit(logits, &labels).unwrap().get();
    assert_eq!(fit(&right), 0.01);
    assert_eq!(fit(&wrong), 100.0);
    assert_eq!(fit(&flat), 1.0);
}

#[test]
fn a_single_mistake_among_many_still_has_its_temperature() {
    // n right and 1 wrong by the same margin m: the loss is lowest where the confidence is n / (n + 1), at m / ln n.
    for right in [2, 10, 1000] {
        let logits = Logits::new([20.0, 0.0].repeat(right + 1), 2).unwrap();
        let mut labels = vec![0; right];
        labels.push(1);
        let found = Temperature::fit(&logits, &Labels::new(labels, 2).unwrap()).unwrap();
        assert_close(found.get(), 20.0 / (right as f64).ln(), 1e-9, "temperature");
    }
}

#[test]
fn what_is_not_a_prediction_is_refused_with_its_place() {
    let nan = Logits::new(vec![0.0, 1.0, 2.0, f32::NAN], 2).unwrap_err();
    assert_eq!(nan.to_string(), "sample 1, class 1: NaN is not a finite number");
    let ragged = Logits::new(vec![0.0; 5], 2).unwrap_err();
    assert_eq!(ragged, Invalid::Ragged { values: 5, classes: 2 });
    let logit = Probabilities::from_f32(&[0.5, 0.5, -0.25, 1.25], 2).unwrap_err();
    assert_eq!(logit, Invalid::NotProbability { sample: 1, class: 0, value: -0.25 });
    let unnormalized = Probabilities::new(vec![0.5, 0.4], 2).unwrap_err();
    assert_eq!(unnormalized, Invalid::RowSum { sample: 0, sum: 0.9 });
    let label = Labels::new(vec![0, 2], 2).unwrap_err();
    assert_eq!(label.to_string(), "sample 1: label 2 is not below the 2 classes");
    assert_eq!(Logits::new(vec![], 2), Err(Invalid::Empty("samples")));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let two = Logits::new(vec![0.0; 4], 2).unwrap();
    let three = Logits::new(vec![0.0; 6], 3).unwrap();
    let uniform = Weights::uniform(2).unwrap();
    let rule = Combine::MeanProbability;
    let shapes = Invalid::Shapes { left: (2, 2), right: (2, 3) };
    assert_eq!(combine(rule, &[&two, &three], &uniform), Err(CombineError::Predictions(shapes)));
    let count = CombineError::WeightCount { weights: 2, members: 1 };
    assert_eq!(combine(rule, &[&two], &uniform), Err(count));
    assert_eq!(combine(rule, &[], &uniform), Err(CombineError::Predictions(Invalid::Empty("members"))));
    assert!(Tally::new(rule, 2, 2).answer().is_err());
    for weights in
        [vec![], vec![0.0, 0.0], vec![1.0, -0.5], vec![f64::NAN], vec![f64::MAX, f64::MAX], vec![1e300], vec![1e-300]]
    {
        assert!(Weights::new(weights).is_err());
    }
}
