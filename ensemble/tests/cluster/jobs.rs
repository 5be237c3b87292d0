//! A job from submission to report, and the other ways in which it can end.

use crate::script::check;
use expect_test::expect;

const TWO_SEEDS: &str = "members: [{seeds: {count: 2}}]";

#[test]
fn two_seeds_on_one_slot() {
    check(
        TWO_SEEDS,
        "submit
         join w1 1
         ready w1 0
         checkpoint train/0@1 0 100
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         evaluated evaluate/2@1
         ready w1 0
         model train/1@1 1 final
         trained train/1@1
         ready w1 0
         evaluated evaluate/3@1
         reported
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            checkpoint train/0@1 0 100
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as seed-0
            evaluated evaluate/2@1
            ready w1 0
                grant w1/0 train/1@1: seed-1
            model train/1@1 1 final
            trained train/1@1
            ready w1 0
                grant w1/0 evaluate/3@1: m1.final as seed-1
            evaluated evaluate/3@1
                combine seed-0=p-evaluate/2 seed-1=p-evaluate/3 | 
            reported
                demo-1 ended
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"done","detail":"","members_ready":2,"members_total":2,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
        "#]],
    );
}

#[test]
fn evaluations_go_before_training_and_older_jobs_before_younger() {
    check(
        TWO_SEEDS,
        "submit a
         submit b
         join w1 3
         ready w1 0
         model train/0@1 0 final
         ready w1 1
         ready w1 2
         trained train/0@1
         ready w1 0",
        expect![[r#"
            submit a
                accepted demo-1
            submit b
                accepted demo-2
            join w1 3
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
            ready w1 1
                grant w1/1 evaluate/2@1: m0.final as seed-0
            ready w1 2
                grant w1/2 train/1@1: seed-1
            trained train/0@1
            ready w1 0
                grant w1/0 demo-2/train/0@1: seed-0
        "#]],
    );
}

#[test]
fn the_same_key_is_the_same_job() {
    check(
        TWO_SEEDS,
        "submit a\nsubmit a\nsubmit b",
        expect![[r#"
        submit a
            accepted demo-1
        submit a
            accepted demo-1
        submit b
            accepted demo-2
    "#]],
    );
}

#[test]
fn a_cancelled_job_loses_its_leases_and_gets_no_more() {
    check(
        TWO_SEEDS,
        "submit
         join w1 2
         ready w1 0
         cancel
         trained train/0@1
         ready w1 0
         cancel
         reported
         show runs",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            cancel
                revoke w1 train/0@1
                demo-1 ended
            trained train/0@1
                refused: attempt 1 of `demo-1/train/0` no longer counts
            ready w1 0
            cancel
            reported
                refused: job `demo-1` has ended
            show runs
                {"index":0,"run":"seed-0","task":"demo-1/train/0","state":"failed","worker":null,"attempt":1}
                {"index":1,"run":"seed-1","task":"demo-1/train/1","state":"failed","worker":null,"attempt":0}
        "#]],
    );
}

#[test]
fn a_job_whose_data_is_wrong_fails_at_once() {
    check(
        TWO_SEEDS,
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         fail train/0@1 data
         ready w1 0
         show job
         cancel",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            fail train/0@1 data
                revoke w1 train/1@1
                demo-1 ended
            ready w1 0
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"failed","detail":"`demo-1/train/0` failed (data, on the only worker): label 11 is out of range","failed_task":"demo-1/train/0","members_ready":0,"members_total":2,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
            cancel
                refused: job `demo-1` has ended
        "#]],
    );
}

#[test]
fn a_job_whose_predictions_do_not_fit_together_fails() {
    check(
        "members: [{seeds: {count: 1}}]",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final
         trained train/0@1
         reported
         ready w1 0
         evaluated evaluate/1@1
         reported refused
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
            trained train/0@1
            reported
                refused: job `demo-1` is not ready to be combined
            ready w1 0
                grant w1/0 evaluate/1@1: m0.final as seed-0
            evaluated evaluate/1@1
                combine seed-0=p-evaluate/1 | 
            reported refused
                demo-1 ended
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"failed","detail":"the predictions do not fit together","members_ready":1,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
        "#]],
    );
}

#[test]
fn a_repeated_message_changes_nothing_and_another_is_refused() {
    check(
        TWO_SEEDS,
        "submit
         join w1 1
         ready w1 0
         checkpoint train/0@2 0 100
         checkpoint train/0@1 0 100
         checkpoint train/0@1 0 200
         checkpoint train/0@1 0 100
         checkpoint train/0@1 1 100
         checkpoint train/0@1 0 100 branch=0
         model train/0@1 0 snapshot-1
         model train/0@1 0 final
         model train/0@1 0 final
         trained train/0@1
         trained train/0@1
         model train/0@1 0 final
         model train/0@1 0 final as=other
         checkpoint train/0@1 0 300
         fail train/0@1 engine
         ready w1 0
         trained evaluate/2@1
         evaluated evaluate/2@1
         evaluated evaluate/2@1
         evaluated evaluate/2@1 as=other
         trained train/7@1
         evaluated train/2@1
         show checkpoints",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            checkpoint train/0@2 0 100
                refused: attempt 2 of `demo-1/train/0` no longer counts
            checkpoint train/0@1 0 100
            checkpoint train/0@1 0 200
            checkpoint train/0@1 0 100
            checkpoint train/0@1 1 100
                refused: run 1 is no part of the task
            checkpoint train/0@1 0 100 branch=0
                refused: run 0 has 0 branch points, and no number 0
            model train/0@1 0 snapshot-1
                refused: run 0 yields no snapshot of cycle 1
            model train/0@1 0 final
            model train/0@1 0 final
            trained train/0@1
            trained train/0@1
            model train/0@1 0 final
            model train/0@1 0 final as=other
                refused: attempt 1 of `demo-1/train/0` no longer counts
            checkpoint train/0@1 0 300
                refused: attempt 1 of `demo-1/train/0` no longer counts
            fail train/0@1 engine
                refused: attempt 1 of `demo-1/train/0` no longer counts
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as seed-0
            trained evaluate/2@1
                refused: `demo-1/evaluate/2` is not the kind of task that ends so
            evaluated evaluate/2@1
            evaluated evaluate/2@1
            evaluated evaluate/2@1 as=other
                refused: attempt 1 of `demo-1/evaluate/2` no longer counts
            trained train/7@1
                refused: there is no task `demo-1/train/7`
            evaluated train/2@1
                refused: there is no task `demo-1/train/2`
            show checkpoints
                {"run":"seed-0","kind":"checkpoint","step":100,"digest":"c0.100","bytes":10,"committed_ms":0,"superseded":true}
                {"run":"seed-0","kind":"checkpoint","step":200,"digest":"c0.200","bytes":10,"committed_ms":0,"superseded":true}
                {"run":"seed-0","kind":"final","step":null,"digest":"m0.final","bytes":10,"committed_ms":0,"superseded":false}
        "#]],
    );
}
