//! Preemption: urgent trainings take slots from others, no more than they need, and after a checkpoint.

use crate::script::check;
use expect_test::expect;

const TWO_SEEDS: &str = "members: [{seeds: {count: 2}}]";

#[test]
fn an_urgent_job_takes_the_newest_slots_of_the_least_urgent_and_gives_them_back() {
    check(
        TWO_SEEDS,
        "submit low priority=10
         submit middle
         join w1 4
         ready w1 0
         ready w1 1
         ready w1 2
         ready w1 3
         submit high priority=99
         checkpoint train/1@1 1 100
         yielded train/1@1
         ready w1 3
         yielded train/0@1
         ready w1 2
         model demo-3/train/0@1 0 final
         trained demo-3/train/0@1
         model demo-3/train/1@1 1 final
         trained demo-3/train/1@1
         ready w1 3
         ready w1 2
         evaluated demo-3/evaluate/2@1
         evaluated demo-3/evaluate/3@1
         ready w1 3
         ready w1 2
         show tasks",
        expect![[r#"
            submit low priority=10
                accepted demo-1
            submit middle
                accepted demo-2
            join w1 4
            ready w1 0
                grant w1/0 demo-2/train/0@1: seed-0
            ready w1 1
                grant w1/1 demo-2/train/1@1: seed-1
            ready w1 2
                grant w1/2 train/0@1: seed-0
            ready w1 3
                grant w1/3 train/1@1: seed-1
            submit high priority=99
                accepted demo-3
                yield w1 train/1@1
                yield w1 train/0@1
            checkpoint train/1@1 1 100
            yielded train/1@1
            ready w1 3
                grant w1/3 demo-3/train/0@1: seed-0
            yielded train/0@1
            ready w1 2
                grant w1/2 demo-3/train/1@1: seed-1
            model demo-3/train/0@1 0 final
            trained demo-3/train/0@1
            model demo-3/train/1@1 1 final
            trained demo-3/train/1@1
            ready w1 3
                grant w1/3 demo-3/evaluate/2@1: m0.final as seed-0
            ready w1 2
                grant w1/2 demo-3/evaluate/3@1: m1.final as seed-1
            evaluated demo-3/evaluate/2@1
            evaluated demo-3/evaluate/3@1
                combine seed-0=p-demo-3/evaluate/2 seed-1=p-demo-3/evaluate/3 | 
            ready w1 3
                grant w1/3 train/0@2: seed-0
            ready w1 2
                grant w1/2 train/1@2: seed-1 from c1.100
            show tasks
                {"id":"demo-1/train/0","state":"leased","at":["w1",3],"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"leased","at":["w1",2],"attempt":2,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn no_more_is_asked_for_than_is_needed() {
    check(
        TWO_SEEDS,
        "submit low priority=10
         join w1 3
         ready w1 0
         ready w1 1
         submit high priority=99
         ready w1 2
         beat w1
         yielded train/1@1
         ready w1 1
         submit equal priority=10
         submit higher priority=11
         model train/0@1 0 final
         trained train/0@1
         fail demo-2/train/0@1 engine
         beat w1
         ready w1 0",
        expect![[r#"
            submit low priority=10
                accepted demo-1
            join w1 3
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            submit high priority=99
                accepted demo-2
                yield w1 train/1@1
            ready w1 2
                grant w1/2 demo-2/train/0@1: seed-0
            beat w1
            yielded train/1@1
            ready w1 1
                grant w1/1 demo-2/train/1@1: seed-1
            submit equal priority=10
                accepted demo-3
            submit higher priority=11
                accepted demo-4
                yield w1 train/0@1
            model train/0@1 0 final
            trained train/0@1
            fail demo-2/train/0@1 engine
            beat w1
            ready w1 0
                grant w1/0 demo-4/train/0@1: seed-0
        "#]],
    );
}

#[test]
fn a_worker_that_is_lost_while_it_is_asked_is_not_waited_for() {
    check(
        "members: [{seeds: {count: 1}}]",
        "submit low priority=10
         join w1 1
         ready w1 0
         submit newer priority=10
         join w2 1
         ready w2 0
         submit high priority=99
         leave w2
         join w2 1 0=demo-2/train/0@1
         yielded train/0@1
         ready w1 0
         yielded demo-2/train/0@1
         ready w2 0
         show workers",
        expect![[r#"
            submit low priority=10
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            submit newer priority=10
                accepted demo-2
            join w2 1
            ready w2 0
                grant w2/0 demo-2/train/0@1: seed-0
            submit high priority=99
                accepted demo-3
                yield w2 demo-2/train/0@1
            leave w2
                yield w1 train/0@1
            join w2 1 0=demo-2/train/0@1
                kept w2/0 demo-2/train/0@1
                yield w2 demo-2/train/0@1
            yielded train/0@1
            ready w1 0
                grant w1/0 demo-3/train/0@1: seed-0
            yielded demo-2/train/0@1
            ready w2 0
                grant w2/0 train/0@2: seed-0
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-3/train/0"}],"last_heartbeat_ms":0}
                {"id":"w2","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"}],"last_heartbeat_ms":0}
        "#]],
    );
}
