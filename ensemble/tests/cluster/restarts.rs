//! Restart budgets: how often a task is tried again, and when.

use crate::script::{check, command, job, slots};
use ensemble::cluster::{Cluster, Command, Effect, LeaveReason, Millis, Settings};
use ensemble::id::{JobId, WorkerId};
use ensemble::job::Job;
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
         fail train/0@2 engine
         ready w1 0
         show due
         beat w1
         tick 4500
         fail train/0@3 engine
         ready w1 0
         show due
         beat w1
         tick 10500
         fail train/0@4 engine
         ready w1 0
         show due
         beat w1
         tick 22500
         fail train/0@5 engine
         ready w1 0
         beat w1
         tick 36000
         beat w1
         tick 46500
         fail train/0@6 engine
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
            fail train/0@2 engine
            ready w1 0
            show due
                Some(4275)
            beat w1
            tick 4500
                retried demo-1/train/0
                grant w1/0 train/0@3: seed-0
            fail train/0@3 engine
            ready w1 0
            show due
                Some(8852)
            beat w1
            tick 10500
                retried demo-1/train/0
                grant w1/0 train/0@4: seed-0
            fail train/0@4 engine
            ready w1 0
            show due
                Some(19500)
            beat w1
            tick 22500
                retried demo-1/train/0
                grant w1/0 train/0@5: seed-0
            fail train/0@5 engine
            ready w1 0
            beat w1
            tick 36000
            beat w1
            tick 46500
                retried demo-1/train/0
                grant w1/0 train/0@6: seed-0
            fail train/0@6 engine
                demo-1 ended
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"failed","detail":"`demo-1/train/0` failed for good (engine lost, 6 times; it is tried again 5 times): the engine was killed by signal 9","failed_task":"demo-1/train/0","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":46500,"served":false}
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

/// What went wrong is counted apart: nothing uses up the budget of something else, and one more than its own ends the job.
#[test]
fn every_kind_of_failure_has_a_budget_of_its_own() {
    let budgets = [("memory", 2), ("engine", 5), ("device", 2), ("store", 48)];
    for (one_too_many, class) in [("memory", "out of memory"), ("engine", "engine lost"), ("store", "infrastructure")] {
        let mut failing = Failing::new();
        for (class, budget) in budgets {
            (0..budget).for_each(|_| assert_eq!(failing.fail(class), Phase::Running, "{class}"));
        }
        assert_eq!(failing.fail(one_too_many), Phase::Failed);
        let detail = failing.cluster.job(&JobId::new("demo-1")).unwrap().detail;
        assert!(detail.contains(class), "{detail}");
    }
}

/// What one worker cannot see, another may.
#[test]
fn a_task_whose_data_are_missing_on_a_worker_goes_to_another() {
    check(
        ONE_SEED,
        "submit
         join w1 1
         join w2 1
         ready w1 0
         fail train/0@1 data
         ready w1 0
         ready w2 0
         tick 1500
         model train/0@2 0 final
         trained train/0@2
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            join w2 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            fail train/0@1 data
            ready w1 0
            ready w2 0
            tick 1500
                retried demo-1/train/0
                grant w2/0 train/0@2: seed-0
            model train/0@2 0 final
                grant w1/0 evaluate/1@1: m0.final as seed-0
            trained train/0@2
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/1","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
        "#]],
    );
}

/// One task that fails on a new worker each time, so that no worker is set aside.
struct Failing {
    cluster: Cluster,
    job: Job,
    now: Millis,
}

impl Failing {
    fn new() -> Self {
        let (mut cluster, job) = (Cluster::new(Settings::default()), job(ONE_SEED).unwrap());
        cluster.apply(0, command(&["submit"], &job)).unwrap();
        Self { cluster, job, now: 0 }
    }

    fn fail(&mut self, class: &str) -> Phase {
        self.now += 60_000;
        self.cluster.tick(self.now);
        let worker = format!("w{}", self.now);
        let attempt = self.cluster.tasks(&JobId::new("demo-1")).unwrap()[0].attempt + 1;
        let lease = format!("train/0@{attempt}");
        for words in [&["join", &worker, "1"][..], &["ready", &worker, "0"], &["fail", &lease, class]] {
            self.cluster.apply(self.now, command(words, &self.job)).unwrap();
        }
        self.cluster.job(&JobId::new("demo-1")).unwrap().phase
    }
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
