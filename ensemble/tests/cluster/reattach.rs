//! Reattaching: a worker that comes back goes on with what still counts, and with nothing else.

use crate::script::check;
use expect_test::expect;

const TWO_SEEDS: &str = "members: [{seeds: {count: 2}}]";

#[test]
fn a_worker_that_is_back_within_its_lease_goes_on_with_its_tasks() {
    check(
        TWO_SEEDS,
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         join w2 1
         ready w2 0
         tick 5000
         beat w2
         leave w1
         show workers
         checkpoint train/0@1 0 100
         ready w1 0
         beat w1
         tick 14999
         join w1 2 0=train/0@1 1=train/1@1
         tick 15000
         checkpoint train/1@1 1 100
         model train/0@1 0 final
         trained train/0@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            join w2 1
            ready w2 0
            tick 5000
            beat w2
            leave w1
            show workers
                {"id":"w1","connected":false,"state":"unknown","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"},{"index":1,"device":"cpu","task":"demo-1/train/1"}],"last_heartbeat_ms":0}
                {"id":"w2","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":null}],"last_heartbeat_ms":5000}
            checkpoint train/0@1 0 100
            ready w1 0
                refused: worker `w1` has no session
            beat w1
                refused: worker `w1` has no session
            tick 14999
            join w1 2 0=train/0@1 1=train/1@1
                kept w1/0 train/0@1
                kept w1/1 train/1@1
            tick 15000
            checkpoint train/1@1 1 100
            model train/0@1 0 final
                grant w2/0 evaluate/2@1: m0.final as seed-0
            trained train/0@1
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"leased","at":["w1",1],"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"leased","at":["w2",0],"attempt":1,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn after_its_own_absence_the_coordinator_waits_a_whole_lease_for_everybody() {
    check(
        TWO_SEEDS,
        "submit
         join w1 1
         ready w1 0
         join w2 1
         ready w2 0
         at 60000
         resume ended
         show workers
         show due
         tick 70000
         join w1 1 0=train/0@1
         checkpoint train/0@1 0 100
         tick 75000
         ready w1 0
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            join w2 1
            ready w2 0
                grant w2/0 train/1@1: seed-1
            at 60000
            resume ended
            show workers
                {"id":"w1","connected":false,"state":"unknown","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"}],"last_heartbeat_ms":60000}
                {"id":"w2","connected":false,"state":"unknown","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/1"}],"last_heartbeat_ms":60000}
            show due
                Some(75000)
            tick 70000
            join w1 1 0=train/0@1
                kept w1/0 train/0@1
            checkpoint train/0@1 0 100
            tick 75000
                lost w2
                revoke w2 train/1@1
            ready w1 0
            show tasks
                {"id":"demo-1/train/0","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":1,"failures":0,"losses":1}
        "#]],
    );
}

#[test]
fn a_coordinator_that_only_stood_still_keeps_its_sessions() {
    check(
        TWO_SEEDS,
        "submit
         join w1 1
         ready w1 0
         at 60000
         resume
         show due
         checkpoint train/0@1 0 100
         show workers",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            at 60000
            resume
            show due
                Some(75000)
            checkpoint train/0@1 0 100
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"}],"last_heartbeat_ms":60000}
        "#]],
    );
}

#[test]
fn what_a_worker_holds_without_right_is_revoked() {
    check(
        TWO_SEEDS,
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         join w2 1
         ready w2 0
         tick 14000
         beat w2
         tick 15000
         join w1 2 0=train/0@2 1=train/1@1
         join w1 2 0=train/0@1
         join w2 1 0=train/0@2
         join w2 1 0=train/9@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            join w2 1
            ready w2 0
            tick 14000
            beat w2
            tick 15000
                lost w1
                revoke w1 train/0@1
                revoke w1 train/1@1
                grant w2/0 train/0@2: seed-0
            join w1 2 0=train/0@2 1=train/1@1
                revoke w1 train/0@2
                revoke w1 train/1@1
            join w1 2 0=train/0@1
                revoke w1 train/0@1
            join w2 1 0=train/0@2
                kept w2/0 train/0@2
            join w2 1 0=train/9@1
                revoke w2 train/0@2
                revoke w2 train/9@1
            show tasks
                {"id":"demo-1/train/0","state":"ready","at":null,"attempt":2,"failures":0,"losses":2}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":1,"failures":0,"losses":1}
        "#]],
    );
}

#[test]
fn a_lease_counts_on_the_slot_it_was_given_to_and_once() {
    check(
        TWO_SEEDS,
        "submit
         join w1 2
         ready w1 0
         join w1 2 0=train/0@1 1=train/0@1
         join w1 2 1=train/0@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            join w1 2 0=train/0@1 1=train/0@1
                kept w1/0 train/0@1
                revoke w1 train/0@1
            join w1 2 1=train/0@1
                revoke w1 train/0@1
                revoke w1 train/0@1
            show tasks
                {"id":"demo-1/train/0","state":"ready","at":null,"attempt":1,"failures":0,"losses":1}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn a_lease_that_its_worker_knows_nothing_of_is_somebody_elses_at_once() {
    check(
        TWO_SEEDS,
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         join w2 1
         ready w2 0
         checkpoint train/1@1 1 100
         join w1 2 0=train/0@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            join w2 1
            ready w2 0
            checkpoint train/1@1 1 100
            join w1 2 0=train/0@1
                revoke w1 train/1@1
                kept w1/0 train/0@1
                grant w2/0 train/1@2: seed-1 from c1.100
            show tasks
                {"id":"demo-1/train/0","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"leased","at":["w2",0],"attempt":2,"failures":0,"losses":1}
        "#]],
    );
}

#[test]
fn what_was_done_under_a_lease_is_not_done_again_and_its_repetition_is_answered() {
    check(
        TWO_SEEDS,
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final
         trained train/0@1
         leave w1
         join w1 1 0=train/0@1
         model train/0@1 0 final
         trained train/0@1
         ready w1 0",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
            trained train/0@1
            leave w1
            join w1 1 0=train/0@1
                revoke w1 train/0@1
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as seed-0
        "#]],
    );
}

#[test]
fn a_task_of_a_job_that_ended_meanwhile_is_revoked_at_the_next_session() {
    check(
        TWO_SEEDS,
        "submit
         join w1 1
         ready w1 0
         leave w1
         cancel
         join w1 1 0=train/0@1
         show workers",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            leave w1
            cancel
                revoke w1 train/0@1
                demo-1 ended
            join w1 1 0=train/0@1
                revoke w1 train/0@1
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":null}],"last_heartbeat_ms":0}
        "#]],
    );
}
