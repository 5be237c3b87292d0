//! What must stay in the store.
//!
//! Goal: nothing that somebody needs is ever given away, and nothing is kept for ever that nobody needs. Method: jobs of
//! every outcome and policy, against a reference that sorts a plain record of what was committed.

use crate::script::{artifact, check, job, report, slots};
use ensemble::cluster::{
    Cluster, Command, Effect, EvaluationScores, Failure, FailureClass, LeaseKey, Millis, ReportOutcome, Settings, Work,
};
use ensemble::id::{Digest, JobId, WorkerId};
use ensemble::metrics::Scores;
use ensemble::report::Report;
use ensemble::run::ModelKind;
use expect_test::expect;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_checkpoint_is_kept_while_something_can_start_from_it() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [{swa: {start: 0.5}}]",
        "submit
         join w1 2
         ready w1 0
         checkpoint train/0@1 0 100
         checkpoint train/0@1 0 150 branch=0
         checkpoint train/0@1 0 200
         checkpoint train/0@1 0 300
         show references
         model train/0@1 0 final
         trained train/0@1
         show references
         ready w1 0
         ready w1 1
         checkpoint train/1@1 1 180
         evaluated evaluate/2@1
         show references
         model train/1@1 1 average-0 bn
         trained train/1@1
         show references
         ready w1 0
         calibrated calibrate/3@1
         ready w1 0
         show references
         evaluated evaluate/4@1
         reported
         show references",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            checkpoint train/0@1 0 100
            checkpoint train/0@1 0 150 branch=0
            checkpoint train/0@1 0 200
            checkpoint train/0@1 0 300
            show references
                c0.150 c0.200 c0.300
            model train/0@1 0 final
            trained train/0@1
            show references
                c0.150 m0.final
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as seed-0
            ready w1 1
                grant w1/1 train/1@1: swa from c0.150
            checkpoint train/1@1 1 180
            evaluated evaluate/2@1
            show references
                c0.150 c1.180 m0.final p-evaluate/2
            model train/1@1 1 average-0 bn
            trained train/1@1
            show references
                m0.final m1.average-0 p-evaluate/2
            ready w1 0
                grant w1/0 calibrate/3@1: m1.average-0 as swa
            calibrated calibrate/3@1
            ready w1 0
                grant w1/0 evaluate/4@1: calibrated as swa
            show references
                calibrated m0.final m1.average-0 p-evaluate/2
            evaluated evaluate/4@1
                combine seed-0=p-evaluate/2 | swa=p-evaluate/4
            reported
                demo-1 ended
            show references
                calibrated m0.final p-evaluate/2 p-evaluate/4
        "#]],
    );
}

#[test]
fn candidates_that_did_not_win_go_when_the_job_is_done_and_pins_stay() {
    check(
        "members: [{cross_validation: {folds: 2, keep: 1}}]",
        "submit
         pin m1.final
         pin anything
         join w1 2
         ready w1 0
         ready w1 1
         model train/0@1 0 final
         trained train/0@1
         model train/1@1 1 final
         trained train/1@1
         ready w1 0
         ready w1 1
         evaluated evaluate/2@1 0.5
         evaluated evaluate/3@1 0.9
         show references
         reported
         show references
         unpin m1.final
         unpin anything
         show references",
        expect![[r#"
            submit
                accepted demo-1
            pin m1.final
            pin anything
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: fold-0
            ready w1 1
                grant w1/1 train/1@1: fold-1
            model train/0@1 0 final
            trained train/0@1
            model train/1@1 1 final
            trained train/1@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as fold-0
            ready w1 1
                grant w1/1 evaluate/3@1: m1.final as fold-1
            evaluated evaluate/2@1 0.5
            evaluated evaluate/3@1 0.9
                combine fold-0=p-evaluate/2 | 
            show references
                anything m0.final m1.final p-evaluate/2 p-evaluate/3
            reported
                demo-1 ended
            show references
                anything m0.final m1.final p-evaluate/2
            unpin m1.final
            unpin anything
            show references
                m0.final p-evaluate/2
        "#]],
    );
}

/// How a job went.
#[derive(Clone, Debug)]
struct Story {
    keep_checkpoints: Option<u32>,
    keep_best: Option<u32>,
    serve: bool,
    /// For each member: how many checkpoints it commits, its NLL, and its weight in the report.
    members: Vec<(u64, f64, f64)>,
    ending: Ending,
    /// After how many reports it ends, if it is not done before.
    cut: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    GoesOn,
    Cancelled,
    Failed,
}

/// What a run has committed, in order.
#[derive(Clone, Debug, Default)]
struct Record {
    checkpoints: Vec<String>,
    model: Option<String>,
    predictions: Option<String>,
    nll: f64,
    weight: f64,
}

fn stories() -> impl Strategy<Value = Story> {
    let member = (0..5_u64, prop_oneof![Just(0.5), 0.1..2.0_f64], prop_oneof![Just(0.0), Just(1.0)]);
    let members = prop::collection::vec(member, 1..6);
    let ending = prop_oneof![Just(Ending::GoesOn), Just(Ending::Cancelled), Just(Ending::Failed)];
    let keep = (prop::option::of(0..4_u32), prop::option::of(1..5_u32));
    (keep, any::<bool>(), members, ending, 0..50_usize).prop_map(|(keep, serve, members, ending, cut)| Story {
        keep_checkpoints: keep.0,
        keep_best: keep.1,
        serve,
        members,
        ending,
        cut,
    })
}

proptest! {
    #[test]
    fn references_are_what_a_plain_record_says(story in stories()) {
        let (cluster, records, done) = play(&story);
        let expected = expected(&story, &records, done);
        let expected: BTreeSet<Digest> = expected.iter().map(|name| artifact(name).digest).collect();
        prop_assert_eq!(cluster.references(), expected);
    }
}

/// One worker with one slot does what is to be done, member after member, until the story is cut.
fn play(story: &Story) -> (Cluster, Vec<Record>, bool) {
    let mut cluster = Cluster::new(Settings::default());
    let keep = |name: &str, value: Option<u32>| value.map(|value| format!("{name}: {value}"));
    let keep: Vec<_> =
        keep("checkpoints", story.keep_checkpoints).into_iter().chain(keep("best", story.keep_best)).collect();
    let serve = if story.serve { "\nserve: {}" } else { "" };
    let file =
        format!("members: [{{seeds: {{count: {}}}}}]\nkeep: {{{}}}{serve}", story.members.len(), keep.join(", "));
    let mut records: Vec<_> =
        story.members.iter().map(|&(_, nll, weight)| Record { nll, weight, ..Record::default() }).collect();
    apply(&mut cluster, Command::Submit { key: "key".into(), job: Box::new(job(&file).unwrap()) });
    let worker = WorkerId::new("w1");
    apply(&mut cluster, Command::Join { worker: worker.clone(), slots: slots(1) });
    let mut left = story.cut;
    let mut last = None;
    let ready = Command::Ready { worker, slot: 0 };
    while let Some(Effect::Grant { lease, work, .. }) = apply(&mut cluster, ready.clone()).pop() {
        last = Some(lease.clone());
        for command in reports(story, &lease, &work) {
            if left == 0 {
                end(&mut cluster, story.ending, &lease);
                return (cluster, records, false);
            }
            left -= 1;
            note(&mut records, &command, &work);
            apply(&mut cluster, command);
        }
    }
    assert!(last.is_some());
    let weights = story.members.iter().map(|(_, _, weight)| *weight).collect();
    let report = Box::new(Report { weights, ..report() });
    let job = JobId::new("demo-1");
    apply(&mut cluster, Command::FinishReport { job, outcome: ReportOutcome::Done { report } });
    (cluster, records, true)
}

fn apply(cluster: &mut Cluster, command: Command) -> Vec<Effect> {
    const NOW: Millis = 0;
    cluster.apply(NOW, command).unwrap()
}

/// What a worker says while it does a task.
fn reports(story: &Story, lease: &LeaseKey, work: &Work) -> Vec<Command> {
    let lease = || lease.clone();
    match work {
        Work::Train { runs, .. } => {
            let run = runs[0].run.index;
            let commit = |step| {
                let artifact = artifact(&format!("c{run}.{step}"));
                Command::CommitCheckpoint { lease: lease(), run, step, artifact, branch: None }
            };
            let model = artifact(&format!("m{run}"));
            let model =
                Command::CommitModel { lease: lease(), run, kind: ModelKind::Final, artifact: model, batch_norm: true };
            let end = [model, Command::FinishTraining { lease: lease() }];
            (1..=story.members[run as usize].0).map(commit).chain(end).collect()
        }
        Work::Evaluate { run, .. } => {
            let nll = story.members[run.index as usize].1;
            let of = Scores { accuracy: 0.9, nll, brier: 0.1, ece: 0.01, samples: 100 };
            let scores = EvaluationScores { validation: Some(of), test: None, held_out: None };
            vec![Command::FinishEvaluation {
                lease: lease(),
                predictions: artifact(&format!("p{}", run.index)),
                scores,
            }]
        }
        Work::Calibrate { .. } => unreachable!("nothing is averaged here"),
    }
}

fn note(records: &mut [Record], command: &Command, work: &Work) {
    match command {
        Command::CommitCheckpoint { run, step, .. } => {
            records[*run as usize].checkpoints.push(format!("c{run}.{step}"));
        }
        Command::CommitModel { run, .. } => records[*run as usize].model = Some(format!("m{run}")),
        Command::FinishEvaluation { .. } => {
            let Work::Evaluate { run, .. } = work else { return };
            records[run.index as usize].predictions = Some(format!("p{}", run.index));
        }
        _ => {}
    }
}

fn end(cluster: &mut Cluster, ending: Ending, lease: &LeaseKey) {
    match ending {
        Ending::GoesOn => {}
        Ending::Cancelled => drop(apply(cluster, Command::Cancel { job: JobId::new("demo-1") })),
        Ending::Failed => {
            let failure = Failure { class: FailureClass::User, message: "it cannot work".into() };
            apply(cluster, Command::Fail { lease: lease.clone(), failure });
        }
    }
}

/// The policy, said once more and plainly.
fn expected(story: &Story, records: &[Record], done: bool) -> Vec<String> {
    let mut names = Vec::new();
    let goes_on = !done && story.ending == Ending::GoesOn;
    for record in records {
        let trained = record.model.is_some();
        let default = match (goes_on, trained) {
            (true, false) => story.keep_checkpoints.unwrap_or(0).max(2),
            (false, false) if !done && story.ending == Ending::Failed => story.keep_checkpoints.unwrap_or(1),
            _ => story.keep_checkpoints.unwrap_or(0),
        };
        names.extend(record.checkpoints.iter().rev().take(default as usize).cloned());
    }
    let mut ranked: Vec<_> = records.iter().filter(|record| record.model.is_some()).collect();
    let kept = if goes_on { None } else { story.keep_best };
    let nll = |record: &Record| if record.predictions.is_some() { record.nll } else { f64::INFINITY };
    ranked.sort_by(|one, other| nll(one).total_cmp(&nll(other)));
    for (rank, record) in ranked.into_iter().enumerate() {
        let best = kept.is_none_or(|best| rank < best as usize);
        let served = done && story.serve && record.weight > 0.0;
        if best || served {
            names.extend(record.model.iter().chain(&record.predictions).cloned());
        }
    }
    names
}
