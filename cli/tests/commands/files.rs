//! What needs no cluster: job files, the schema, and what is said when there is no cluster.

use super::{assert_fails, repository, run, stdout};
use std::fs;

#[test]
fn every_example_is_valid_and_names_its_schema() {
    let folder = repository().join("deploy/jobs");
    let mut examples = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let modeline = "# yaml-language-server: $schema=schema.json";
            assert_eq!(text.lines().next(), Some(modeline), "{}", path.display());
            let output = run(&["validate", path.to_str().unwrap()], &folder);
            assert!(output.status.success(), "{}", super::stderr(&output));
            examples += 1;
        }
    }
    assert!(examples >= 4);
}

#[test]
fn the_committed_schema_is_what_the_program_prints() {
    let committed = repository().join("deploy/jobs/schema.json");
    let printed = stdout(&run(&["schema"], &repository()));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&committed, &printed).unwrap();
    }
    let same = fs::read_to_string(&committed).is_ok_and(|text| text == printed);
    assert!(same, "{} is out of date; run `UPDATE=1 cargo test --release -p cli schema`", committed.display());
}

#[test]
fn an_invalid_job_file_is_refused_with_every_reason() {
    let folder = tempfile::tempdir().unwrap();
    let job =
        "name: x\ndata: {format: idx, path: nowhere}\nmodel: {architecture: mlp}\ntrain: {epochs: 0}\nmembers: []\n";
    fs::write(folder.path().join("job.yaml"), job).unwrap();
    let output = run(&["validate", "job.yaml"], folder.path());
    assert_fails(&output, 2, &["job.yaml is no valid job file", "train.epochs: `0`", "members: `[]`"]);

    let output = run(&["validate", "job.yaml", "--set", "train.epoch=3"], folder.path());
    assert_fails(&output, 2, &["train: unknown key `epoch`; did you mean `epochs`?"]);
    assert_fails(&run(&["validate", "none.yaml"], folder.path()), 2, &["cannot read none.yaml"]);
}

/// Data that are here are looked at before anything runs.
#[test]
fn a_job_that_its_data_contradict_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let idx = |magic: u8, sizes: &[u8], bytes: &[u8]| {
        let sizes = sizes.iter().flat_map(|&size| [0, 0, 0, size]);
        [0, 0, 8, magic].into_iter().chain(sizes).chain(bytes.iter().copied()).collect::<Vec<u8>>()
    };
    fs::write(folder.path().join("train-images-idx3-ubyte"), idx(3, &[4, 2, 2], &[0; 16])).unwrap();
    fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(1, &[4], &[0, 1, 0, 1])).unwrap();
    let job = "name: x\ndata: {format: idx, path: ., validation: 0}\nmodel: {architecture: mlp}\n\
               train: {epochs: 1, batch_size: 8}\nmembers: [{seeds: {count: 1}}]\n";
    fs::write(folder.path().join("job.yaml"), job).unwrap();
    let output = run(&["validate", "job.yaml"], folder.path());
    assert_fails(&output, 2, &["train.batch_size: `8` cannot be; there are 4 training samples"]);
    let output = run(&["validate", "job.yaml", "--set", "train.batch_size=2"], folder.path());
    assert_eq!(stdout(&output), "job.yaml: valid; 1 members, 0 averages, not served\n");

    fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(1, &[3], &[0, 1, 0])).unwrap();
    assert_fails(&run(&["validate", "job.yaml"], folder.path()), 2, &["has 4 images", "has 3 labels"]);
}

#[test]
fn without_a_coordinator_the_remedy_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_fails(&run(&["get", "jobs"], folder.path()), 1, &["no coordinator runs here", "`tutti up`"]);
    let output = run(&["get", "jobs", "--coordinator", "127.0.0.1:1"], folder.path());
    assert_fails(&output, 1, &["no coordinator answers at 127.0.0.1:1", "`tutti up`"]);
    fs::create_dir(folder.path().join(".tutti")).unwrap();
    fs::write(folder.path().join(".tutti/endpoint"), "127.0.0.1:1\n").unwrap();
    assert_fails(&run(&["report", "x"], folder.path()), 1, &["no coordinator answers at 127.0.0.1:1"]);
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    assert_fails(&run(&["get", "nothing"], folder.path()), 2, &["nothing"]);
    assert_fails(&run(&["up", "--workers", "0"], folder.path()), 2, &["--workers"]);
    assert_fails(&run(&["predict", "x", "--images", "none"], folder.path()), 2, &["cannot read none"]);
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell], &repository())).contains("checkpoints"), "{shell}");
    }
}
