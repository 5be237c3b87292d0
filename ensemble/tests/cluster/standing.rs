//! Workers that are given no tasks: drained by an operator, or set aside because their devices fail.

use crate::script::check;
use expect_test::expect;

const THREE_SEEDS: &str = "members: [{seeds: {count: 3}}]";

#[test]
fn a_drained_worker_hands_its_tasks_back_and_gets_none_until_it_is_reinstated() {
    check(
        THREE_SEEDS,
        "submit
         join w1 3
         ready w1 0
         ready w1 1
         drain w1
         drain w1
         ready w1 2
         checkpoint train/0@1 0 100
         yielded train/0@1
         yielded train/0@1
         ready w1 0
         show workers
         yielded train/1@1
         show tasks
         leave w1
         join w1 3
         ready w1 0
         show workers
         show job
         reinstate w1
         reinstate w1
         show workers
         drain w9",
        expect![[r#"
            submit
                accepted demo-1
            join w1 3
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            drain w1
                yield w1 train/0@1
                yield w1 train/1@1
            drain w1
            ready w1 2
            checkpoint train/0@1 0 100
            yielded train/0@1
            yielded train/0@1
                refused: attempt 1 of `demo-1/train/0` no longer counts
            ready w1 0
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"draining","slots":[{"index":0,"device":"cpu","task":null},{"index":1,"device":"cpu","task":"demo-1/train/1"},{"index":2,"device":"cpu","task":null}],"last_heartbeat_ms":0}
            yielded train/1@1
            show tasks
                {"id":"demo-1/train/0","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/2","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
            leave w1
            join w1 3
            ready w1 0
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"drained","slots":[{"index":0,"device":"cpu","task":null},{"index":1,"device":"cpu","task":null},{"index":2,"device":"cpu","task":null}],"last_heartbeat_ms":0}
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"every worker is drained or set aside; `tutti get workers` lists them, `tutti reinstate` lets one work","members_ready":0,"members_total":3,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            reinstate w1
                grant w1/0 train/0@2: seed-0 from c0.100
            reinstate w1
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"},{"index":1,"device":"cpu","task":null},{"index":2,"device":"cpu","task":null}],"last_heartbeat_ms":0}
            drain w9
                refused: there is no worker `w9`; `tutti get workers` lists them
        "#]],
    );
}

#[test]
fn what_a_worker_could_not_hear_is_said_at_its_next_session() {
    check(
        THREE_SEEDS,
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         leave w1
         drain w1
         model train/1@1 1 final
         trained train/1@1
         join w1 2 0=train/0@1
         yielded train/0@1
         show workers",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            leave w1
            drain w1
                yield w1 train/0@1
                yield w1 train/1@1
            model train/1@1 1 final
            trained train/1@1
            join w1 2 0=train/0@1
                kept w1/0 train/0@1
                yield w1 train/0@1
            yielded train/0@1
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"drained","slots":[{"index":0,"device":"cpu","task":null},{"index":1,"device":"cpu","task":null}],"last_heartbeat_ms":0}
        "#]],
    );
}

#[test]
fn a_worker_whose_devices_fail_three_times_is_set_aside_and_a_finished_task_clears_it() {
    check(
        THREE_SEEDS,
        "submit
         join w1 3
         ready w1 0
         ready w1 1
         ready w1 2
         fail train/0@1 device
         fail train/1@1 device
         model train/2@1 2 final
         trained train/2@1
         tick 9000
         ready w1 0
         ready w1 1
         ready w1 2
         model train/0@2 0 final
         trained train/0@2
         fail evaluate/3@1 device
         ready w1 0
         fail evaluate/4@1 device
         show workers
         beat w1
         tick 18000
         ready w1 0
         fail evaluate/3@2 device
         ready w1 0
         show workers
         yielded train/1@2
         show tasks
         join w2 1
         ready w2 0
         reinstate w1",
        expect![[r#"
            submit
                accepted demo-1
            join w1 3
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            ready w1 2
                grant w1/2 train/2@1: seed-2
            fail train/0@1 device
            fail train/1@1 device
            model train/2@1 2 final
            trained train/2@1
            tick 9000
                retried demo-1/train/0
                retried demo-1/train/1
            ready w1 0
                grant w1/0 evaluate/3@1: m2.final as seed-2
            ready w1 1
                grant w1/1 train/0@2: seed-0
            ready w1 2
                grant w1/2 train/1@2: seed-1
            model train/0@2 0 final
            trained train/0@2
            fail evaluate/3@1 device
            ready w1 0
                grant w1/0 evaluate/4@1: m0.final as seed-0
            fail evaluate/4@1 device
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":null},{"index":1,"device":"cpu","task":null},{"index":2,"device":"cpu","task":"demo-1/train/1"}],"last_heartbeat_ms":0}
            beat w1
            tick 18000
                retried demo-1/evaluate/4
                retried demo-1/evaluate/3
            ready w1 0
                grant w1/0 evaluate/3@2: m2.final as seed-2
            fail evaluate/3@2 device
                yield w1 train/1@2
            ready w1 0
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"set_aside","slots":[{"index":0,"device":"cpu","task":null},{"index":1,"device":"cpu","task":null},{"index":2,"device":"cpu","task":"demo-1/train/1"}],"last_heartbeat_ms":9000}
            yielded train/1@2
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":1}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":2,"failures":0,"losses":1}
                {"id":"demo-1/train/2","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/3","state":"paused","at":null,"attempt":2,"failures":0,"losses":2}
                {"id":"demo-1/evaluate/4","state":"ready","at":null,"attempt":1,"failures":0,"losses":1}
            join w2 1
            ready w2 0
                grant w2/0 evaluate/4@2: m0.final as seed-0
            reinstate w1
                grant w1/0 train/1@3: seed-1
        "#]],
    );
}

/// A network that no device can compute would set all of them aside.
#[test]
fn a_task_that_fails_on_three_workers_is_to_blame_and_they_are_not() {
    check(
        "members: [{seeds: {count: 1}}]",
        "submit
         join w1 1
         ready w1 0
         fail train/0@1 device
         tick 3000
         ready w1 0
         fail train/0@2 device
         tick 7000
         ready w1 0
         fail train/0@3 device
         show workers
         join w2 1
         ready w2 0
         tick 14000
         fail train/0@4 device
         join w3 1
         ready w3 0
         tick 28000
         fail train/0@5 device
         show job
         show workers",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            fail train/0@1 device
            tick 3000
                retried demo-1/train/0
            ready w1 0
                grant w1/0 train/0@2: seed-0
            fail train/0@2 device
            tick 7000
                retried demo-1/train/0
            ready w1 0
                grant w1/0 train/0@3: seed-0
            fail train/0@3 device
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"set_aside","slots":[{"index":0,"device":"cpu","task":null}],"last_heartbeat_ms":0}
            join w2 1
            ready w2 0
            tick 14000
                retried demo-1/train/0
                grant w2/0 train/0@4: seed-0
            fail train/0@4 device
            join w3 1
            ready w3 0
            tick 28000
                lost w1
                lost w2
                retried demo-1/train/0
                grant w3/0 train/0@5: seed-0
            fail train/0@5 device
                demo-1 ended
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"failed","detail":"`demo-1/train/0` failed for good (device, on 3 workers): the device fell off the bus","failed_task":"demo-1/train/0","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":28000,"served":false}
            show workers
                {"id":"w1","connected":false,"state":"gone","standing":"active","slots":[],"last_heartbeat_ms":0}
                {"id":"w2","connected":false,"state":"gone","standing":"active","slots":[],"last_heartbeat_ms":7000}
                {"id":"w3","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":null}],"last_heartbeat_ms":14000}
        "#]],
    );
}
