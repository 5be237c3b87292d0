//! Averages: kept along a run, branched off one, or made of members.

use crate::script::check;
use expect_test::expect;

#[test]
fn an_average_with_batch_norm_is_calibrated_before_it_is_evaluated() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [ema]",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final bn
         model train/0@1 0 average-0 bn
         trained train/0@1
         ready w1 0
         evaluated evaluate/1@1
         ready w1 0
         show averages
         calibrated calibrate/2@1
         calibrated calibrate/2@1
         calibrated calibrate/2@1 as=other
         ready w1 0
         evaluated evaluate/3@1
         show averages",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final bn
            model train/0@1 0 average-0 bn
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/1@1: m0.final as seed-0
            evaluated evaluate/1@1
            ready w1 0
                grant w1/0 calibrate/2@1: m0.average-0 as seed-0
            show averages
                {"index":0,"name":"ema","state":"trained","digest":null,"bytes":null,"validation":null,"test":null}
            calibrated calibrate/2@1
            calibrated calibrate/2@1
            calibrated calibrate/2@1 as=other
                refused: attempt 1 of `demo-1/calibrate/2` no longer counts
            ready w1 0
                grant w1/0 evaluate/3@1: calibrated as seed-0
            evaluated evaluate/3@1
                combine seed-0=p-evaluate/1 | ema=p-evaluate/3
            show averages
                {"index":0,"name":"ema","state":"evaluated","digest":"calibrated","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
        "#]],
    );
}

#[test]
fn swa_waits_for_the_checkpoint_at_which_it_branches_off() {
    check(
        "members: [{seeds: {count: 2}}]\naverage: [{swa: {start: 0.5, member: 1}}]",
        "submit
         join w1 2
         show tasks
         ready w1 0
         ready w1 1
         checkpoint train/1@1 1 100
         checkpoint train/1@1 1 150 branch=0
         checkpoint train/1@1 1 200
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         evaluated evaluate/3@1
         ready w1 0
         checkpoint train/2@1 2 180
         leave w1
         join w1 2
         ready w1 0
         ready w1 1
         checkpoint train/1@2 1 150 branch=0 as=again
         model train/1@2 1 final
         trained train/1@2
         model train/2@2 2 average-0
         trained train/2@2
         ready w1 0
         ready w1 1
         evaluated evaluate/4@1
         evaluated evaluate/5@1
         show checkpoints",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            show tasks
                {"id":"demo-1/train/0","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
                {"id":"demo-1/train/2","state":"blocked","at":null,"attempt":0,"failures":0,"losses":0}
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            checkpoint train/1@1 1 100
            checkpoint train/1@1 1 150 branch=0
            checkpoint train/1@1 1 200
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/3@1: m0.final as seed-0
            evaluated evaluate/3@1
            ready w1 0
                grant w1/0 train/2@1: swa from c1.150
            checkpoint train/2@1 2 180
            leave w1
            join w1 2
                revoke w1 train/2@1
                revoke w1 train/1@1
            ready w1 0
                grant w1/0 train/1@2: seed-1 from c1.200
            ready w1 1
                grant w1/1 train/2@2: swa from c2.180
            checkpoint train/1@2 1 150 branch=0 as=again
            model train/1@2 1 final
            trained train/1@2
            model train/2@2 2 average-0
            trained train/2@2
            ready w1 0
                grant w1/0 evaluate/4@1: m1.final as seed-1
            ready w1 1
                grant w1/1 evaluate/5@1: m2.average-0 as swa
            evaluated evaluate/4@1
            evaluated evaluate/5@1
                combine seed-0=p-evaluate/3 seed-1=p-evaluate/4 | swa=p-evaluate/5
            show checkpoints
                {"run":"seed-1","kind":"checkpoint","step":100,"digest":"c1.100","bytes":10,"committed_ms":0,"superseded":true}
                {"run":"seed-1","kind":"checkpoint","step":150,"digest":"again","bytes":10,"committed_ms":0,"superseded":true}
                {"run":"seed-1","kind":"checkpoint","step":150,"digest":"c1.150","bytes":10,"committed_ms":0,"superseded":false}
                {"run":"swa","kind":"checkpoint","step":180,"digest":"c2.180","bytes":10,"committed_ms":0,"superseded":true}
                {"run":"seed-0","kind":"final","step":null,"digest":"m0.final","bytes":10,"committed_ms":0,"superseded":false}
                {"run":"seed-1","kind":"final","step":null,"digest":"m1.final","bytes":10,"committed_ms":0,"superseded":false}
                {"run":"swa","kind":"average","step":null,"digest":"m2.average-0","bytes":10,"committed_ms":0,"superseded":false}
        "#]],
    );
}

#[test]
fn training_that_ends_without_the_branch_checkpoint_counts_as_a_failure() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [swa]",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final
         trained train/0@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
            trained train/0@1
            show tasks
                {"id":"demo-1/train/0","state":"paused","at":null,"attempt":1,"failures":1,"losses":0}
                {"id":"demo-1/train/1","state":"blocked","at":null,"attempt":0,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn a_soup_of_snapshots_is_averaged_when_the_last_of_them_is_there() {
    check(
        "members: [{snapshots: {cycles: 4, keep_last: 2}}]\naverage: [{soup: {of: snapshots}}]",
        "submit
         join w1 1
         ready w1 0
         averaged 0
         model train/0@1 0 snapshot-1
         model train/0@1 0 snapshot-2
         model train/0@1 0 snapshot-3
         trained train/0@1
         averaged 1
         averaged 0 bn
         averaged 0 bn
         ready w1 0
         evaluated evaluate/1@1
         ready w1 0
         evaluated evaluate/2@1
         ready w1 0
         calibrated calibrate/3@1
         ready w1 0
         evaluated evaluate/4@1
         reported
         averaged 0",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: snapshots
            averaged 0
                refused: nobody asked for average 0 of job `demo-1`
            model train/0@1 0 snapshot-1
                refused: run 0 yields no snapshot of cycle 1
            model train/0@1 0 snapshot-2
            model train/0@1 0 snapshot-3
                average 0: m0.snapshot-2 m0.snapshot-3
            trained train/0@1
            averaged 1
                refused: nobody asked for average 1 of job `demo-1`
            averaged 0 bn
            averaged 0 bn
            ready w1 0
                grant w1/0 evaluate/1@1: m0.snapshot-2 as snapshots
            evaluated evaluate/1@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.snapshot-3 as snapshots
            evaluated evaluate/2@1
            ready w1 0
                grant w1/0 calibrate/3@1: soup as snapshots
            calibrated calibrate/3@1
            ready w1 0
                grant w1/0 evaluate/4@1: calibrated as snapshots
            evaluated evaluate/4@1
                combine snapshot-2=p-evaluate/1 snapshot-3=p-evaluate/2 | soup=p-evaluate/4
            reported
                demo-1 ended
            averaged 0
                refused: job `demo-1` has ended
        "#]],
    );
}

#[test]
fn a_soup_whose_models_do_not_fit_together_ends_the_job() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [{soup: {of: members}}]",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final
         averaged 0 refused
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
                average 0: m0.final
            averaged 0 refused
                revoke w1 train/0@1
                demo-1 ended
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"failed","detail":"`soup` cannot be made: `fc.weight` has other shapes","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
        "#]],
    );
}
