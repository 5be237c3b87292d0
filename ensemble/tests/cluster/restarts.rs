//! Restart budgets: how often a task is tried again, and when.

use crate::script::{check, command, job, slots};
use ensemble::cluster::{Cluster, Command, Effect, LeaveReason, Settings};
use ensemble::id::{JobId, WorkerId};
use ensemble::view::Phase;
use expect_test::expect;

const ONE_SEED: &str = "members: [{seeds: {count: 1}}]";

#[test]
fn a_task_that_fails_pauses_longer_each_time_and_then_ends_the_job() {
    check(
        ONE_SEED,
        "submit
         join w1 1
         ready w1 0
         fail train/0@1 engine
         fail train/0@1 engine
         ready w1 0
         show due
         tick 999
         beat w1
         tick 1500
         fail train/0@2 memory
         ready w1 0
         show due
         beat w1
         tick 4500
         fail train/0@3 memory
         ready w1 0
         show due
         beat w1
         tick 10500
         fail train/0@4 memory
         ready w1 0
         show due
         beat w1
         tick 22500
         fail train/0@5 memory
         ready w1 0
         beat w1
         tick 36000
         beat w1
         tick 46500
         fail train/0@6 memory
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            fail train/0@1 engine
            fail train/0@1 engine
                refused: attempt 1 of `demo-1/train/0` no longer counts
            ready w1 0
            show due
                Some(1099)
            tick 999
            beat w1
            tick 1500
                retried demo-1/train/0
                grant w1/0 train/0@2: seed-0
            fail train/0@2 memory
            ready w1 0
            show due
                Some(2599)
            beat w1
            tick 4500
                retried demo-1/train/0
                grant w1/0 train/0@3: seed-0
            fail train/0@3 memory
            ready w1 0
            show due
                Some(7275)
            beat w1
            tick 10500
                retried demo-1/train/0
                grant w1/0 train/0@4: seed-0
            fail train/0@4 memory
                demo-1 ended
            ready w1 0
            show due
                Some(19500)
            beat w1
            tick 22500
            fail train/0@5 memory
                refused: attempt 5 of `demo-1/train/0` no longer counts
            ready w1 0
            beat w1
            tick 36000
            beat w1
            tick 46500
            fail train/0@6 memory
                refused: attempt 6 of `demo-1/train/0` no longer counts
            show job
                {"id":"demo-1","name":"demo","phase":"failed","detail":"`demo-1/train/0` failed for good (out of memory, 3 times; it is tried again 2 times): out of memory","members_ready":0,"members_total":1,"submitted_ms":0,"ended_ms":10500,"served":false}
        "#]],
    );
}

#[test]
fn training_that_ends_without_its_model_counts_as_a_failure() {
    check(
        ONE_SEED,
        "submit
         join w1 1
         ready w1 0
         trained train/0@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            trained train/0@1
            show tasks
                {"id":"demo-1/train/0","state":"paused","at":null,"attempt":1,"failures":1,"losses":0}
        "#]],
    );
}

/// Workers come and go 50 times without harm; the 51st time is too much.
#[test]
fn losing_workers_has_a_budget_of_its_own() {
    let mut cluster = Cluster::new(Settings::default());
    let job = job(ONE_SEED).unwrap();
    cluster.apply(0, command(&["submit"], &job)).unwrap();
    let worker = WorkerId::new("w1");
    let id = JobId::new("demo-1");
    for loss in 1..=51 {
        assert_eq!(cluster.job(&id).unwrap().phase, Phase::Running, "before loss {loss}");
        cluster.apply(0, Command::Join { worker: worker.clone(), slots: slots(1) }).unwrap();
        let effects = cluster.apply(0, Command::Ready { worker: worker.clone(), slot: 0 }).unwrap();
        assert!(matches!(&effects[..], [Effect::Grant { lease, .. }] if lease.attempt == loss));
        cluster.apply(0, Command::Leave { worker: worker.clone(), reason: LeaveReason::Silent }).unwrap();
    }
    expect!["`demo-1/train/0` lost its worker for good (infrastructure, 51 times; it is tried again 50 times): see why workers go"]
        .assert_eq(&cluster.job(&id).unwrap().detail);
}
