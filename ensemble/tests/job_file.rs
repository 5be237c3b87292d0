//! What a job file may say, and what a user reads when it says something else.
#![allow(clippy::unwrap_used)]

use ensemble::job::{DataSummary, Job, Override, schema};
use expect_test::{Expect, expect};

const WHOLE: &str = "
name: fashion-mnist
seed: 7
data: {format: idx, path: data/fashion-mnist, validation: 0.1}
model: {architecture: resnet18}
train:
  epochs: 20
  batch_size: 128
  precision: bf16
  optimizer: {sgd: {momentum: 0.9, nesterov: true, weight_decay: 5.0e-4}}
  learning_rate: {cosine: {max: 0.1}}
  warmup_epochs: 1
  regularize: {label_smoothing: 0.1, dropout: 0.2}
  augment: [{random_crop: {padding: 4}}, horizontal_flip]
members:
  - seeds: {count: 4}
  - snapshots: {cycles: 5, keep_last: 3}
  - cross_validation: {folds: 5, grid: {train.learning_rate.max: [0.1, 0.05]}, keep: 3}
average:
  - ema
  - swa: {start: 0.75, learning_rate: 0.05}
  - soup: {of: snapshots}
ensemble: {combine: mean_probability, select: greedy, temperature: fitted, min_members: 8}
serve: {}
keep: {checkpoints: 2, best: 5}
namespace: vision
priority: 70
";

fn small(change: &str) -> Result<Job, String> {
    let file = "{name: small, data: {format: idx, path: d}, model: {architecture: cnn}, train: {epochs: 6}, members: [seeds: {count: 2}]}";
    Job::parse(file, &[change.parse().map_err(|error| format!("{error}"))?]).map_err(|error| error.to_string())
}

fn refused(change: &str, expected: Expect) {
    expected.assert_eq(&small(change).unwrap_err());
}

#[test]
fn the_whole_file_reads_and_survives_its_json_form() {
    let job = Job::parse(WHOLE, &[]).unwrap();
    assert_eq!(Job::from_json(&job.to_json()).unwrap(), job);
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest_valid_one() {
    refused(
        "train.epoch=3",
        expect![[
            r#"train: unknown key `epoch`; did you mean `epochs`? Valid here: epochs, batch_size, precision, optimizer, learning_rate, warmup_epochs, regularize, augment, early_stopping, pack"#
        ]],
    );
    refused(
        "model.architecture=resnet81",
        expect![[
            r#"model.architecture: unknown name `resnet81`; did you mean `resnet18`? Valid here: mlp, cnn, resnet18, resnet34, resnet50, wide_resnet"#
        ]],
    );
    refused(
        "members=[{seeds: {number: 3}}]",
        expect![[r#"members[0].seeds: unknown key `number`; valid here: count"#]],
    );
}

#[test]
fn a_wrong_type_names_the_path_and_both_types() {
    refused(
        "train.epochs=many",
        expect![[r#"train.epochs: string "many" stands where a whole number of at least 0 belongs"#]],
    );
    refused("train.epochs=-1", expect!["train.epochs: integer `-1` is not a whole number of at least 0"]);
    refused(
        "train.augment=[{random_crop: {padding: wide}}]",
        expect![[
            r#"train.augment[0].random_crop.padding: string "wide" stands where a whole number of at least 0 belongs"#
        ]],
    );
    refused("train=7", expect!["train: integer `7` stands where a map of keys and values belongs"]);
    refused(
        "model.architecture=[]",
        expect![
            "model.architecture: `[]` names no kind; write one of mlp, cnn, resnet18, resnet34, resnet50, wide_resnet"
        ],
    );
    refused("members=7", expect!["members: integer `7` stands where a list belongs"]);
}

#[test]
fn impossible_values_are_refused_with_a_remedy() {
    refused("train.epochs=0", expect![[r#"train.epochs: `0` cannot be; at least 1"#]]);
    refused(
        "train.learning_rate={cosine_cycles: {max: 0.1, cycles: 9}}",
        expect![[
            r#"train.learning_rate.cosine_cycles.cycles: `9` cannot be; from 1 to the run's 6 epochs, so that a cycle lasts at least one"#
        ]],
    );
    refused(
        "members=[snapshots: {cycles: 3, keep_last: 4}]",
        expect![[r#"members[0].snapshots.keep_last: `4` cannot be; from 1 to the 3 cycles"#]],
    );
    refused(
        "members=[cross_validation: {folds: 1, keep: 9}]",
        expect![[r#"members[0].cross_validation.folds: `1` cannot be; at least 2
members[0].cross_validation.keep: `9` cannot be; from 1 to the 1 candidates"#]],
    );
    refused(
        "members=[cross_validation: {folds: 3, keep: 1, grid: {train.learning_rate.max: [-1]}}]",
        expect![[r#"
        members[0].cross_validation.grid.train.learning_rate.max: with `-1`, train.learning_rate.cosine.max: `-1` cannot be; above 0
        members[0].cross_validation.grid.train.learning_rate.max: with `-1`, train.learning_rate.cosine.min: `0` cannot be; from 0 to the schedule's max of -1"#]],
    );
    refused(
        "data={format: idx, path: d, classes: 3, class_names: [a, b]}",
        expect!["data.class_names: `2 names` cannot be; name each of the 3 classes"],
    );
    refused("average=[ema: {decay: 1.5}]", expect!["average[0].ema.decay: `1.5` cannot be; above 0 and below 1"]);
    refused(
        "average=[swa: {member: 2}]",
        expect![
            "average[0].swa.member: `2` cannot be; from 0 to 1: the members that `seeds` and `snapshots` give first"
        ],
    );
    refused(
        "ensemble.weights=[1]",
        expect!["ensemble.weights: `[1.0]` cannot be; one weight for each of the 2 members"],
    );
    refused(
        "train.learning_rate.max=.nan",
        expect![[r#"
        not valid YAML: error: line 1 column 1: non-finite float `.nan` rejected by the configured policy
         --> <input>:1:1
          |
        1 | .nan
          | ^ non-finite float `.nan` rejected by the configured policy"#]],
    );
    refused("serve.min_members=3", expect!["serve.min_members: `3` cannot be; from 1 to the 2 members"]);
    refused("ensemble.min_members=0", expect!["ensemble.min_members: `0` cannot be; from 1 to the 2 members"]);
    refused("priority=100", expect!["priority: `100` cannot be; use 1 to 99"]);
    refused(
        "namespace=Team A",
        expect!["namespace: `Team A` cannot be; use 1 to 40 lower-case letters, digits and dashes"],
    );
    refused("keep.checkpoints=9", expect!["keep.checkpoints: `9` cannot be; from 0 to 8"]);
    refused("keep.best=0", expect!["keep.best: `0` cannot be; at least 1"]);
}

#[test]
fn best_models_need_a_validation_part() {
    let file = "{name: small, data: {format: idx, path: d, validation: 0}, model: {architecture: cnn}, train: {epochs: 6}, members: [seeds: {count: 2}], keep: {best: 1}}";
    expect!["keep.best: `1` cannot be; there is no validation part to judge by; set `data.validation` above 0"]
        .assert_eq(&Job::parse(file, &[]).unwrap_err().to_string());
}

#[test]
fn what_only_the_data_can_refuse_is_refused_with_the_data() {
    let job = small("members=[cross_validation: {folds: 50, keep: 1}]").unwrap();
    let data = DataSummary { train: 40, test: 10, classes: 3, shape: [1, 28, 28], rarest_class: 9 };
    expect![[r#"
        train.batch_size: `128` cannot be; there are 36 training samples
        members[0].cross_validation.folds: `50` cannot be; there are 36 training samples"#]]
    .assert_eq(&job.check_against(&data).unwrap_err().to_string());
}

#[test]
fn overrides_reach_through_a_choice() {
    let job = small("train.learning_rate={cosine: {max: 0.2}}").unwrap();
    let changed = job.with(&["train.learning_rate.max=0.3".parse::<Override>().unwrap()]).unwrap();
    assert_eq!(changed.train.learning_rate.max(), 0.3);
    refused(
        "train.epochs.many=1",
        expect!["train.epochs.many: `train.epochs` holds no `many`; name a key of the job file"],
    );
    refused("epochs", expect!["`epochs` sets nothing; write KEY=VALUE, as in train.epochs=3"]);
}

#[test]
fn the_schema_knows_every_section() {
    let schema = schema();
    let sections = schema["properties"].as_object().unwrap();
    for section in ["name", "data", "model", "train", "members", "average", "ensemble", "serve", "keep"] {
        assert!(sections.contains_key(section), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
