//! Leases: how long they last, and what becomes of a task whose worker is gone.

use crate::script::check;
use expect_test::expect;

const ONE_SEED: &str = "members: [{seeds: {count: 1}}]";

#[test]
fn a_silent_worker_loses_its_task_to_another_that_goes_on_from_the_checkpoint() {
    check(
        ONE_SEED,
        "submit
         join w1 1
         join w2 1
         ready w1 0
         ready w2 0
         checkpoint train/0@1 0 100
         tick 10000
         beat w1
         tick 14999
         show due
         tick 15000
         tick 24999
         tick 25000
         join w2 1
         ready w2 0
         show workers",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            join w2 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w2 0
            checkpoint train/0@1 0 100
            tick 10000
            beat w1
            tick 14999
            show due
                Some(15000)
            tick 15000
                lost w2
            tick 24999
            tick 25000
                lost w1
                revoke w1 train/0@1
            join w2 1
            ready w2 0
                grant w2/0 train/0@2: seed-0 from c0.100
            show workers
                {"id":"w1","connected":false,"state":"gone","standing":"active","slots":[],"last_heartbeat_ms":10000}
                {"id":"w2","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"}],"last_heartbeat_ms":25000}
        "#]],
    );
}

#[test]
fn a_worker_that_returns_late_is_fenced_off() {
    check(
        ONE_SEED,
        "submit
         join w1 1
         ready w1 0
         tick 15000
         beat w1
         ready w1 0
         join w2 1
         ready w2 0
         checkpoint train/0@1 0 100
         model train/0@1 0 final
         trained train/0@1
         fail train/0@1 engine
         checkpoint train/0@2 0 50",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            tick 15000
                lost w1
                revoke w1 train/0@1
            beat w1
                refused: worker `w1` has no session
            ready w1 0
                refused: worker `w1` has no session
            join w2 1
            ready w2 0
                grant w2/0 train/0@2: seed-0
            checkpoint train/0@1 0 100
                refused: attempt 1 of `demo-1/train/0` no longer counts
            model train/0@1 0 final
                refused: attempt 1 of `demo-1/train/0` no longer counts
            trained train/0@1
                refused: attempt 1 of `demo-1/train/0` no longer counts
            fail train/0@1 engine
                refused: attempt 1 of `demo-1/train/0` no longer counts
            checkpoint train/0@2 0 50
        "#]],
    );
}

#[test]
fn a_worker_whose_session_breaks_keeps_its_tasks_and_one_that_stops_hands_them_back() {
    check(
        "members: [{seeds: {count: 3}}]",
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         checkpoint train/1@1 1 100
         join w2 3
         ready w2 0
         ready w2 1
         leave w1
         leave w1
         stop w2
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            checkpoint train/1@1 1 100
            join w2 3
            ready w2 0
                grant w2/0 train/2@1: seed-2
            ready w2 1
            leave w1
            leave w1
                refused: worker `w1` has no session
            stop w2
                revoke w2 train/2@1
            show tasks
                {"id":"demo-1/train/0","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"leased","at":["w1",1],"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/2","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn a_worker_that_joins_again_with_nothing_has_lost_its_tasks() {
    check(
        ONE_SEED,
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         join w1 2
         ready w1 1
         ready w1 7
         ready w3 0
         join w1 0",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
            join w1 2
                revoke w1 train/0@1
            ready w1 1
                grant w1/1 train/0@2: seed-0
            ready w1 7
                refused: worker `w1` has no slot 7
            ready w3 0
                refused: worker `w3` has no session
            join w1 0
                refused: worker `w1` has 0 slots; it must have 1 to 256
        "#]],
    );
}

#[test]
fn a_slot_that_asks_while_it_has_a_lease_keeps_it() {
    check(
        ONE_SEED,
        "submit
         join w1 1
         ready w1 0
         ready w1 0
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 0
            show tasks
                {"id":"demo-1/train/0","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn a_pack_goes_on_from_the_newest_step_that_all_its_runs_have() {
    check(
        "train: {epochs: 4, pack: 3}\nmembers: [{seeds: {count: 3}}]",
        "submit
         join w1 2
         ready w1 0
         checkpoint train/0@1 0 100
         checkpoint train/0@1 1 100
         checkpoint train/0@1 2 100
         checkpoint train/0@1 0 200
         model train/0@1 2 final
         leave w1
         join w1 2
         ready w1 0
         evaluated evaluate/1@1
         ready w1 0
         checkpoint train/0@2 0 200
         checkpoint train/0@2 1 200
         leave w1
         join w1 2
         ready w1 0
         model train/0@3 0 final
         model train/0@3 1 final
         silent w1
         show tasks
         trained train/0@3",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0, seed-1, seed-2
            checkpoint train/0@1 0 100
            checkpoint train/0@1 1 100
            checkpoint train/0@1 2 100
            checkpoint train/0@1 0 200
            model train/0@1 2 final
            leave w1
            join w1 2
                revoke w1 train/0@1
            ready w1 0
                grant w1/0 evaluate/1@1: m2.final as seed-2
            evaluated evaluate/1@1
            ready w1 0
                grant w1/0 train/0@2: seed-0 from c0.100, seed-1 from c1.100
            checkpoint train/0@2 0 200
            checkpoint train/0@2 1 200
            leave w1
            join w1 2
                revoke w1 train/0@2
            ready w1 0
                grant w1/0 train/0@3: seed-0 from c0.200, seed-1 from c1.200
            model train/0@3 0 final
            model train/0@3 1 final
            silent w1
                lost w1
                revoke w1 train/0@3
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":3,"failures":0,"losses":2}
                {"id":"demo-1/evaluate/1","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/3","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
            trained train/0@3
        "#]],
    );
}
