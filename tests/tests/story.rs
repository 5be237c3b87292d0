//! The whole story with real processes on real data, twice: once undisturbed, and once with engines killed, a worker
//! killed, and all of it stopped and started again, each in the middle of a training. What the second time yields must be
//! the same bytes.
#![allow(clippy::unwrap_used)]

use ensemble::metrics::Scores;
use ensemble::report::{Report, ReportRow};
use proto::v1::{JobPhase, JobStatus};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use tests::{Cluster, TEST_SAMPLES, TRAIN_SAMPLES, cut_fashion_mnist, watch_until};

const JOB: &str = "
name: story
seed: 7
data: {format: idx, path: data, validation: 0.1}
model: {architecture: cnn}
train:
  epochs: 8
  batch_size: 64
  learning_rate: {cosine: {max: 0.05}}
  augment: [{random_crop: {padding: 2}}, horizontal_flip]
members:
  - seeds: {count: 2}
  - snapshots: {cycles: 2}
  - cross_validation: {folds: 3, keep: 1}
average:
  - ema: {decay: 0.9}
  - swa: {start: 0.5, learning_rate: 0.02}
  - soup: {of: snapshots}
serve: {}
";

#[test]
fn one_job_file_becomes_a_served_ensemble_and_no_disturbance_changes_a_bit_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("story.yaml");
    std::fs::write(&file, JOB).unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    cut_fashion_mnist(&folder.path().join("data"));
    let state = folder.path().join("cluster");
    let cluster = Cluster::start(&state);

    let job = cluster.submit(&file);
    let undisturbed = watch_until(&cluster.endpoint(), &job, ended);
    assert_eq!(attempts(&undisturbed), 1, "nothing went wrong, so every run was granted once");
    let report: Report = cluster.json(&["report", &job]);
    check_report(&report);
    let models = exported(&cluster, &job, folder.path());
    check_predictions(&cluster, &job, &report, folder.path());

    let again = cluster.submit(&file);
    let (first, worker) = watch_until(&cluster.endpoint(), &again, |status| halfway(status, &[]));
    cluster.kill_engines(&worker);
    let (second, worker) = watch_until(&cluster.endpoint(), &again, |status| halfway(status, &[&first]));
    cluster.kill_worker(&worker);
    let (third, _) = watch_until(&cluster.endpoint(), &again, |status| halfway(status, &[&first, &second]));
    assert!(cluster.stop().success());
    let cluster = Cluster::start(&state);
    let disturbed = watch_until(&cluster.endpoint(), &again, ended);
    for run in [first, second, third] {
        assert!(attempt(&disturbed, &run) > 1, "{run} was interrupted and so granted once more: {disturbed:?}");
    }
    assert_eq!(exported(&cluster, &again, folder.path()), models);
    assert_eq!(cluster.json::<Report>(&["report", &again]), report);
    // Both jobs are served again, by engines that were not there when their members were made.
    for job in [job, again] {
        check_predictions(&cluster, &job, &report, folder.path());
    }

    assert!(cluster.stop().success());
}

fn ended(status: &JobStatus) -> Option<JobStatus> {
    let job = status.job.as_ref().unwrap();
    match job.phase() {
        JobPhase::Running => None,
        JobPhase::Done => Some(status.clone()),
        phase => panic!("{phase:?}: {}", job.detail),
    }
}

/// A run, none of those in `not`, with at least an epoch behind it and half of them before it, and the worker that
/// trains it.
fn halfway(status: &JobStatus, not: &[&str]) -> Option<(String, String)> {
    let trained = |run: &&proto::v1::RunProgress| {
        let epoch = run.progress.unwrap_or_default().epoch;
        run.state == "training" && !not.contains(&run.run.as_str()) && (1.0..=4.0).contains(&epoch)
    };
    status.runs.iter().find(trained).map(|run| (run.run.clone(), run.worker.clone()))
}

fn attempt(status: &JobStatus, run: &str) -> u32 {
    status.runs.iter().find(|known| known.run == run).unwrap().attempt
}

fn attempts(status: &JobStatus) -> u32 {
    status.runs.iter().map(|run| run.attempt).max().unwrap()
}

fn check_report(report: &Report) {
    let names = |rows: &[ReportRow]| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    let members = names(&report.members);
    assert_eq!(members[..4], ["seed-0", "seed-1", "snapshot-0", "snapshot-1"]);
    assert!(members.len() == 5 && members[4].starts_with("fold-"), "{members:?}");
    assert_eq!(names(&report.averages), ["ema", "swa", "soup"]);

    let validation = TRAIN_SAMPLES / 10;
    for row in report.members.iter().chain(&report.averages).chain([&report.ensemble]) {
        let (on_validation, on_test) = (row.validation.as_ref().unwrap(), row.test.as_ref().unwrap());
        assert_eq!((on_validation.samples as usize, on_test.samples as usize), (validation, TEST_SAMPLES));
        // Ten classes: chance is 0.1. A network that learns from 1,350 images for eight epochs is far beyond it.
        assert!(on_test.accuracy > 0.4, "{}: {on_test:?}", row.name);
    }
    assert_eq!(report.weights, [0.2; 5]);
    check_jensen(report);
}

/// The logarithm is concave and the square convex: the mean of the members' probabilities is never worse in NLL or Brier
/// score than the members are on average.
fn check_jensen(report: &Report) {
    let mean = |score: fn(&Scores) -> f64| {
        let scores = report.members.iter().map(|member| score(member.test.as_ref().unwrap()));
        scores.sum::<f64>() / report.members.len() as f64
    };
    let ensemble = report.ensemble.test.as_ref().unwrap();
    assert!(ensemble.nll <= mean(|scores| scores.nll) && ensemble.brier <= mean(|scores| scores.brier), "{report:?}");
    assert!(report.disagreement.is_some_and(|share| share > 0.0 && share < 1.0));
}

#[derive(Deserialize)]
struct Manifest {
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    file: String,
    sha256: String,
    weight: Option<f64>,
}

/// The digests of a job's models by name, as exported and checked.
fn exported(cluster: &Cluster, job: &str, folder: &Path) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for (what, count) in [("ensemble", 5), ("average", 3)] {
        let to = folder.join(job).join(what);
        tests::succeed(cluster.command(&["export", job, "--what", what, "--to"]).arg(&to));
        let manifest = std::fs::read_to_string(to.join("manifest.json")).unwrap();
        let Manifest { models } = serde_json::from_str(&manifest).unwrap();
        assert_eq!(models.len(), count, "{manifest}");
        for model in models {
            let digest: String = Sha256::digest(std::fs::read(to.join(&model.file)).unwrap())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(digest, model.sha256);
            assert_eq!(model.weight.is_some(), what == "ensemble", "{}", model.name);
            digests.insert(model.name, digest);
        }
    }
    digests
}

#[derive(Deserialize)]
struct Answer {
    class: u32,
    truth: u32,
    probabilities: Vec<f64>,
    members_answered: u32,
    members_total: u32,
}

/// The served ensemble says about the test images what the report says that it does.
fn check_predictions(cluster: &Cluster, job: &str, report: &Report, folder: &Path) {
    let (images, labels) = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz");
    let [images, labels] = [images, labels].map(|name| folder.join("data").join(name).to_string_lossy().into_owned());
    let all = TEST_SAMPLES.to_string();
    let answers: Vec<Answer> =
        cluster.json(&["predict", job, "--images", &images, "--labels", &labels, "--first", &all]);
    assert_eq!(answers.len(), TEST_SAMPLES);
    assert!(answers.iter().all(|answer| (answer.members_answered, answer.members_total) == (5, 5)));

    let mean = |value: &dyn Fn(&Answer) -> f64| answers.iter().map(value).sum::<f64>() / answers.len() as f64;
    let reported = report.ensemble.test.as_ref().unwrap();
    let accuracy = mean(&|answer| f64::from(u8::from(answer.class == answer.truth)));
    let nll = mean(&|answer| -answer.probabilities[answer.truth as usize].ln());
    // Batches of another size add up in another order: an image on the edge between two classes may fall either way.
    assert!((accuracy - reported.accuracy).abs() < 1.5 / TEST_SAMPLES as f64, "{accuracy} {reported:?}");
    assert!((nll - reported.nll).abs() < 1e-4, "{nll} {reported:?}");
}
