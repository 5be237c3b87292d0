//! The JSON that users see.

use crate::script::check;
use expect_test::expect;

#[test]
fn what_users_see_of_a_job_at_work() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [ema]\nserve: {}",
        "show workers
         submit
         join w1 1
         ready w1 0
         tick 2000
         beat w1
         checkpoint train/0@1 0 100
         checkpoint train/0@1 0 200
         show job
         show members
         show averages
         show runs
         show tasks
         show checkpoints
         show workers
         model train/0@1 0 final
         model train/0@1 0 average-0
         show checkpoints
         show runs",
        expect![[r#"
            show workers
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            tick 2000
            beat w1
            checkpoint train/0@1 0 100
            checkpoint train/0@1 0 200
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":true}
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"training","digest":null,"bytes":null,"validation":null,"test":null}
            show averages
                {"index":0,"name":"ema","state":"training","digest":null,"bytes":null,"validation":null,"test":null}
            show runs
                {"index":0,"run":"seed-0","task":"demo-1/train/0","state":"training","worker":"w1","attempt":1}
            show tasks
                {"id":"demo-1/train/0","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
            show checkpoints
                {"run":"seed-0","kind":"checkpoint","step":100,"digest":"c0.100","bytes":10,"committed_ms":2000,"superseded":true}
                {"run":"seed-0","kind":"checkpoint","step":200,"digest":"c0.200","bytes":10,"committed_ms":2000,"superseded":false}
            show workers
                {"id":"w1","connected":true,"state":"connected","standing":"active","slots":[{"index":0,"device":"cpu","task":"demo-1/train/0"}],"last_heartbeat_ms":2000}
            model train/0@1 0 final
            model train/0@1 0 average-0
            show checkpoints
                {"run":"seed-0","kind":"checkpoint","step":100,"digest":"c0.100","bytes":10,"committed_ms":2000,"superseded":true}
                {"run":"seed-0","kind":"checkpoint","step":200,"digest":"c0.200","bytes":10,"committed_ms":2000,"superseded":true}
                {"run":"seed-0","kind":"final","step":null,"digest":"m0.final","bytes":10,"committed_ms":2000,"superseded":false}
                {"run":"ema","kind":"average","step":null,"digest":"m0.average-0","bytes":10,"committed_ms":2000,"superseded":false}
            show runs
                {"index":0,"run":"seed-0","task":"demo-1/train/0","state":"done","worker":"w1","attempt":1}
        "#]],
    );
}

#[test]
fn a_job_says_what_it_waits_for() {
    check(
        "members: [{seeds: {count: 1}}]",
        "submit
         show job
         join w1 1
         show job
         ready w1 0
         fail train/0@1 engine
         show job
         ready w1 0
         tick 2000
         beat w1
         model train/0@2 0 final
         trained train/0@2
         show job",
        expect![[r#"
            submit
                accepted demo-1
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"no worker is in session","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            join w1 1
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"waits for a slot","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            ready w1 0
                grant w1/0 train/0@1: seed-0
            fail train/0@1 engine
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"`demo-1/train/0` failed and is tried again (engine lost, 1 of 5 times): the engine was killed by signal 9; it waits until 00:00:01 UTC","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            ready w1 0
            tick 2000
                retried demo-1/train/0
                grant w1/0 train/0@2: seed-0
            beat w1
            model train/0@2 0 final
            trained train/0@2
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"waits for a slot","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
        "#]],
    );
}

#[test]
fn a_job_that_waits_for_others_says_for_whom() {
    check(
        "members: [{seeds: {count: 2}}]",
        "submit
         join w1 1
         ready w1 0
         leave w1
         show job
         join w1 1 0=train/0@1
         show job
         submit urgent priority=90
         yielded train/0@1
         ready w1 0
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            leave w1
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"`demo-1/train/0` is with worker `w1`, which is out of touch: it goes on there or, after its lease, elsewhere","members_ready":0,"members_total":2,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            join w1 1 0=train/0@1
                kept w1/0 train/0@1
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"","members_ready":0,"members_total":2,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            submit urgent priority=90
                accepted demo-2
                yield w1 train/0@1
            yielded train/0@1
            ready w1 0
                grant w1/0 demo-2/train/0@1: seed-0
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"waits for a slot, behind jobs of priority 90","members_ready":0,"members_total":2,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
        "#]],
    );
}
