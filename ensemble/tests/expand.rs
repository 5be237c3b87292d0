//! What jobs expand to: runs with their seeds, packs, members and averages; and what is refused.
#![allow(clippy::unwrap_used)]

use ensemble::expand::{AverageSource, Contest, MemberSource, ModelRef, Plan, expand, yields};
use ensemble::job::Job;
use ensemble::run::{Goal, ModelKind, Run, Samples};
use expect_test::{Expect, expect};
use std::fmt::Write;

/// Expands a job whose file has these sections beside the usual ones, and compares what it amounts to.
fn check(sections: &str, plan: Expect) {
    plan.assert_eq(&match expand(&job(sections)) {
        Ok(plan) => told(&plan),
        Err(error) => format!("refused: {error}\n"),
    });
}

fn job(sections: &str) -> Job {
    let mut file = "name: demo\ndata: {format: idx, path: /data}\nmodel: {architecture: cnn}\n".to_owned();
    if !sections.contains("train:") {
        file += "train: {epochs: 8}\n";
    }
    Job::parse(&(file + sections), &[]).unwrap()
}

fn told(plan: &Plan) -> String {
    let mut text = String::new();
    plan.runs.iter().for_each(|run| writeln!(text, "{}", told_run(run)).unwrap());
    writeln!(text, "packs {:?} of {} runs", plan.packs, plan.runs_reserved).unwrap();
    for (index, member) in plan.members.iter().enumerate() {
        let source = match member.source {
            MemberSource::Model(model) => told_model(model),
            MemberSource::Winner { contest, rank } => format!("rank {rank} of contest {contest}"),
        };
        writeln!(text, "member {index} {}: {source}", member.name).unwrap();
    }
    for average in &plan.averages {
        let source = match &average.source {
            AverageSource::Run(model) => told_model(*model),
            AverageSource::Soup { members } => format!("members {members:?}"),
        };
        writeln!(text, "average {}: {source}", average.name).unwrap();
    }
    plan.contests.iter().for_each(|contest| writeln!(text, "{}", told_contest(contest)).unwrap());
    text
}

fn told_run(run: &Run) -> String {
    let rate = serde_json::to_string(&run.train.learning_rate).unwrap().replace('"', "");
    let samples = match run.samples {
        Samples::Training => "all".to_owned(),
        Samples::AllButFold { fold, folds } => format!("without {fold}/{folds}"),
    };
    let goal = match run.goal {
        Goal::Final | Goal::Snapshots { .. } => String::new(),
        Goal::Swa { from_run, start, .. } => format!(", from run {from_run} at {start}"),
    };
    let branches =
        if run.branch_points.is_empty() { String::new() } else { format!(", left at {:?}", run.branch_points) };
    let kinds = yields(run).into_iter().map(told_kind).collect::<Vec<_>>().join(" ");
    let epochs = run.train.epochs;
    format!(
        "{} {} seed={:#x} {epochs} epochs {rate} {samples}{goal}{branches} -> {kinds}",
        run.index, run.name, run.seed
    )
}

fn told_model(model: ModelRef) -> String {
    format!("run {} {}", model.run, told_kind(model.kind))
}

fn told_kind(kind: ModelKind) -> String {
    match kind {
        ModelKind::Final => "final".into(),
        ModelKind::Snapshot { cycle } => format!("snapshot-{cycle}"),
        ModelKind::Average { index } => format!("average-{index}"),
    }
}

fn told_contest(contest: &Contest) -> String {
    let Contest { folds, first_run, first_refit, keep, .. } = contest;
    let names: Vec<_> = contest.configurations.iter().map(|configuration| configuration.name.as_str()).collect();
    format!(
        "contest of {names:?} on {folds} folds from run {first_run}, {keep} win, trained again from run {first_refit}"
    )
}

#[test]
fn seeds_snapshots_and_a_cross_validation_make_one_ensemble() {
    check(
        "seed: 7
members:
  - seeds: {count: 2}
  - snapshots: {cycles: 4, keep_last: 2, epochs: 12, learning_rate: 0.2}
  - cross_validation: {folds: 2, keep: 1}
  - seeds: {count: 1}
  - snapshots: {cycles: 1}",
        expect![[r#"
            0 seed-0 seed=0x70000 8 epochs {cosine:{max:0.1,min:0.0}} all -> final
            1 seed-1 seed=0x70001 8 epochs {cosine:{max:0.1,min:0.0}} all -> final
            2 snapshots seed=0x70002 12 epochs {cosine_cycles:{max:0.2,min:0.0,cycles:4}} all -> snapshot-2 snapshot-3
            3 fold-0 seed=0x70003 8 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            4 fold-1 seed=0x70004 8 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            5 seed-2 seed=0x70005 8 epochs {cosine:{max:0.1,min:0.0}} all -> final
            6 snapshots-2 seed=0x70006 8 epochs {cosine_cycles:{max:0.1,min:0.0,cycles:1}} all -> snapshot-0
            packs [[0], [1], [2], [3], [4], [5], [6]] of 7 runs
            member 0 seed-0: run 0 final
            member 1 seed-1: run 1 final
            member 2 snapshot-2: run 2 snapshot-2
            member 3 snapshot-3: run 2 snapshot-3
            member 4 winner-0: rank 0 of contest 0
            member 5 seed-2: run 5 final
            member 6 snapshots-2-snapshot-0: run 6 snapshot-0
            contest of ["config-0"] on 2 folds from run 3, 1 win, trained again from run 7
        "#]],
    );
}

#[test]
fn a_grid_has_every_combination_and_reserves_the_runs_of_its_winners() {
    check(
        "members:
  - cross_validation:
      folds: 2
      grid: {train.learning_rate.max: [0.1, 0.05], train.epochs: [2, 4]}
      keep: 2
      winners: configurations
  - cross_validation: {folds: 2, keep: 1, winners: configurations}",
        expect![[r#"
            0 fold-0-config-0 seed=0x0 2 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            1 fold-0-config-1 seed=0x1 2 epochs {cosine:{max:0.05,min:0.0}} without 0/2 -> final
            2 fold-0-config-2 seed=0x2 4 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            3 fold-0-config-3 seed=0x3 4 epochs {cosine:{max:0.05,min:0.0}} without 0/2 -> final
            4 fold-1-config-0 seed=0x4 2 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            5 fold-1-config-1 seed=0x5 2 epochs {cosine:{max:0.05,min:0.0}} without 1/2 -> final
            6 fold-1-config-2 seed=0x6 4 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            7 fold-1-config-3 seed=0x7 4 epochs {cosine:{max:0.05,min:0.0}} without 1/2 -> final
            8 cross-validation-2-fold-0 seed=0x8 8 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            9 cross-validation-2-fold-1 seed=0x9 8 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            packs [[0], [1], [2], [3], [4], [5], [6], [7], [8], [9]] of 13 runs
            member 0 winner-0: rank 0 of contest 0
            member 1 winner-1: rank 1 of contest 0
            member 2 cross-validation-2-winner-0: rank 0 of contest 1
            contest of ["config-0", "config-1", "config-2", "config-3"] on 2 folds from run 0, 2 win, trained again from run 10
            contest of ["cross-validation-2-config-0"] on 2 folds from run 8, 1 win, trained again from run 12
        "#]],
    );
}

#[test]
fn averages_follow_branch_off_or_take_in_members() {
    check(
        "members: [{seeds: {count: 2}}, {snapshots: {cycles: 2}}]
average:
  - ema
  - swa: {start: 0.5, learning_rate: 0.01, member: 1}
  - swa: {start: 0.25, member: 1}
  - swa: {start: 0.5, member: 1}
  - ema: {decay: 0.9, member: 3}
  - soup: {of: snapshots}
  - soup: {of: members, force: true}",
        expect![[r#"
            0 seed-0 seed=0x0 8 epochs {cosine:{max:0.1,min:0.0}} all -> final average-0
            1 seed-1 seed=0x1 8 epochs {cosine:{max:0.1,min:0.0}} all, left at [0.25, 0.5] -> final
            2 snapshots seed=0x2 8 epochs {cosine_cycles:{max:0.1,min:0.0,cycles:2}} all -> snapshot-0 snapshot-1 average-4
            3 swa seed=0x3 8 epochs {constant:{max:0.01}} all, from run 1 at 0.5 -> average-1
            4 swa-2 seed=0x4 8 epochs {constant:{max:0.05}} all, from run 1 at 0.25 -> average-2
            5 swa-3 seed=0x5 8 epochs {constant:{max:0.05}} all, from run 1 at 0.5 -> average-3
            packs [[0], [1], [2], [3], [4], [5]] of 6 runs
            member 0 seed-0: run 0 final
            member 1 seed-1: run 1 final
            member 2 snapshot-0: run 2 snapshot-0
            member 3 snapshot-1: run 2 snapshot-1
            average ema: run 0 average-0
            average swa: run 3 average-1
            average swa-2: run 4 average-2
            average swa-3: run 5 average-3
            average ema-2: run 2 average-4
            average soup: members [2, 3]
            average soup-2: members [0, 1, 2, 3]
        "#]],
    );
}

#[test]
fn a_pack_holds_runs_that_differ_in_seed_and_learning_rate_only() {
    check(
        "train: {epochs: 4, pack: 3}
members:
  - seeds: {count: 4}
  - snapshots: {cycles: 2}
  - cross_validation: {folds: 2, grid: {train.learning_rate.max: [0.1, 0.05]}, keep: 1}
  - cross_validation: {folds: 2, grid: {train.batch_size: [32, 64]}, keep: 1}
average: [swa]",
        expect![[r#"
            0 seed-0 seed=0x0 4 epochs {cosine:{max:0.1,min:0.0}} all, left at [0.75] -> final
            1 seed-1 seed=0x1 4 epochs {cosine:{max:0.1,min:0.0}} all -> final
            2 seed-2 seed=0x2 4 epochs {cosine:{max:0.1,min:0.0}} all -> final
            3 seed-3 seed=0x3 4 epochs {cosine:{max:0.1,min:0.0}} all -> final
            4 snapshots seed=0x4 4 epochs {cosine_cycles:{max:0.1,min:0.0,cycles:2}} all -> snapshot-0 snapshot-1
            5 fold-0-config-0 seed=0x5 4 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            6 fold-0-config-1 seed=0x6 4 epochs {cosine:{max:0.05,min:0.0}} without 0/2 -> final
            7 fold-1-config-0 seed=0x7 4 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            8 fold-1-config-1 seed=0x8 4 epochs {cosine:{max:0.05,min:0.0}} without 1/2 -> final
            9 cross-validation-2-fold-0-config-0 seed=0x9 4 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            10 cross-validation-2-fold-0-config-1 seed=0xa 4 epochs {cosine:{max:0.1,min:0.0}} without 0/2 -> final
            11 cross-validation-2-fold-1-config-0 seed=0xb 4 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            12 cross-validation-2-fold-1-config-1 seed=0xc 4 epochs {cosine:{max:0.1,min:0.0}} without 1/2 -> final
            13 swa seed=0xd 4 epochs {constant:{max:0.05}} all, from run 0 at 0.75 -> average-0
            packs [[0, 1, 2], [3], [4], [5, 6, 7], [8], [9, 11], [10, 12], [13]] of 14 runs
            member 0 seed-0: run 0 final
            member 1 seed-1: run 1 final
            member 2 seed-2: run 2 final
            member 3 seed-3: run 3 final
            member 4 snapshot-0: run 4 snapshot-0
            member 5 snapshot-1: run 4 snapshot-1
            member 6 winner-0: rank 0 of contest 0
            member 7 cross-validation-2-winner-0: rank 0 of contest 1
            average swa: run 13 average-0
            contest of ["config-0", "config-1"] on 2 folds from run 5, 1 win, trained again from run 14
            contest of ["cross-validation-2-config-0", "cross-validation-2-config-1"] on 2 folds from run 9, 1 win, trained again from run 14
        "#]],
    );
}

#[test]
fn models_of_different_trajectories_are_not_averaged() {
    check(
        "members: [{seeds: {count: 2}}]\naverage: [{soup: {of: seeds}}]",
        expect![[r#"
        refused: average[0].soup: models 0 and 1 come from runs 0 and 1, which share no trajectory: the mean of their weights is almost certainly worse than either (66.8 % accuracy was measured where the members had 98 %). combine their predictions instead, or set `force: true`
    "#]],
    );
    let folds = "members: [{cross_validation: {folds: 2, keep: 2}}]\naverage: [{soup: {of: members}}]";
    check(
        folds,
        expect![[r#"
        refused: average[0].soup: models 0 and 1 come from runs 2 and 3, which share no trajectory: the mean of their weights is almost certainly worse than either (66.8 % accuracy was measured where the members had 98 %). combine their predictions instead, or set `force: true`
    "#]],
    );
    let mixed = "members: [{snapshots: {cycles: 2}}, {seeds: {count: 1}}]\naverage: [{soup: {of: members}}]";
    check(
        mixed,
        expect![[r#"
        refused: average[0].soup: models 0 and 2 come from runs 0 and 1, which share no trajectory: the mean of their weights is almost certainly worse than either (66.8 % accuracy was measured where the members had 98 %). combine their predictions instead, or set `force: true`
    "#]],
    );
}

#[test]
fn what_cannot_work_together_is_refused() {
    check(
        "members: [{seeds: {count: 2}}]\naverage: [{soup: {of: snapshots}}]",
        expect![[r#"
        refused: average[0].soup.of: no member comes from there; name a source that stands under `members`
    "#]],
    );
    let stopping = "train: {epochs: 4, early_stopping: {patience: 1}}\nmembers: [{seeds: {count: 1}}]\naverage: [swa]";
    check(
        stopping,
        expect![[r#"
        refused: train.early_stopping: `swa` branches off `seed-0`, which may stop before that point; leave one of the two out
    "#]],
    );
    let weights = "members: [{seeds: {count: 2}}]\nensemble: {select: greedy, weights: [1, 2]}";
    check(
        weights,
        expect![[r#"
        refused: ensemble.weights: given weights leave nothing to `select: greedy`; leave one of the two out
    "#]],
    );
}

/// Every value is valid beside the job's own others, and one combination is not.
#[test]
fn a_combination_that_is_no_recipe_is_refused() {
    let grid = "train: {epochs: 5, learning_rate: {cosine_cycles: {max: 0.1, cycles: 4}}}
members: [{cross_validation: {folds: 2, keep: 1, grid: {train.epochs: [4, 5], train.learning_rate.cycles: [4, 5]}}}]";
    check(
        grid,
        expect![[r#"
        refused: members[0].cross_validation.grid: in combination 1, train.learning_rate.cosine_cycles.cycles: `5` cannot be; from 1 to the run's 4 epochs, so that a cycle lasts at least one
    "#]],
    );
}

#[test]
fn sizes_are_bounded() {
    let soups = vec!["{soup: {of: members, force: true}}"; 65].join(", ");
    check(
        &format!("members: [{{seeds: {{count: 2}}}}]\naverage: [{soups}]"),
        expect![[r#"
        refused: average: the job has 65 averages; at most 64
    "#]],
    );
    check(
        "train: {epochs: 20000}\nmembers: [{snapshots: {cycles: 20000}}]",
        expect![[r#"
        refused: members: 20000 members; a job has at most 10000
    "#]],
    );
}

/// Not one of the largest plan's many seeds may coincide, within a job or with the next job's.
#[test]
fn seeds_are_distinct() {
    let seeds = |seed| expand(&job(&format!("seed: {seed}\nmembers: [{{seeds: {{count: 10000}}}}]"))).unwrap().runs;
    let mut all: Vec<_> = seeds(1).iter().chain(&seeds(2)).map(|run| run.seed).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 20_000);
}
