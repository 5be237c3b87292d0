//! Artifacts that turn out to be damaged in the store.

use crate::script::check;
use expect_test::expect;

#[test]
fn a_run_goes_on_from_the_checkpoint_before_a_damaged_one_and_from_scratch_without_any() {
    check(
        "members: [{seeds: {count: 1}}]",
        "submit
         join w1 1
         ready w1 0
         checkpoint train/0@1 0 100
         checkpoint train/0@1 0 200
         checkpoint train/0@1 0 300
         damaged c0.300
         stop w1
         join w1 1
         ready w1 0
         damaged c0.200
         stop w1
         join w1 1
         ready w1 0",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            checkpoint train/0@1 0 100
            checkpoint train/0@1 0 200
            checkpoint train/0@1 0 300
            damaged c0.300
            stop w1
                revoke w1 train/0@1
            join w1 1
            ready w1 0
                grant w1/0 train/0@2: seed-0 from c0.200
            damaged c0.200
            stop w1
                revoke w1 train/0@2
            join w1 1
            ready w1 0
                grant w1/0 train/0@3: seed-0
        "#]],
    );
}

#[test]
fn a_damaged_branch_point_is_passed_once_more_before_the_branch_starts() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [{swa: {start: 0.5}}]",
        "submit
         join w1 2
         ready w1 0
         checkpoint train/0@1 0 100
         checkpoint train/0@1 0 150 branch=0
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         ready w1 1
         damaged c0.150
         show tasks
         ready w1 1
         checkpoint train/0@2 0 150 branch=0
         trained train/0@2
         ready w1 1
         checkpoint train/1@2 1 180
         damaged c0.150
         show tasks
         model train/1@2 1 average-0
         trained train/1@2
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            checkpoint train/0@1 0 100
            checkpoint train/0@1 0 150 branch=0
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as seed-0
            ready w1 1
                grant w1/1 train/1@1: swa from c0.150
            damaged c0.150
                revoke w1 train/1@1
            show tasks
                {"id":"demo-1/train/0","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"blocked","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
            ready w1 1
                grant w1/1 train/0@2: seed-0
            checkpoint train/0@2 0 150 branch=0
            trained train/0@2
            ready w1 1
                grant w1/1 train/1@2: swa from c0.150
            checkpoint train/1@2 1 180
            damaged c0.150
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"leased","at":["w1",1],"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
            model train/1@2 1 average-0
            trained train/1@2
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"leased","at":["w1",0],"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/3","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn a_damaged_model_is_made_again_and_what_was_learned_about_it_stands() {
    check(
        "members: [{seeds: {count: 2}}]\naverage: [{soup: {of: seeds, force: true}}]",
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         checkpoint train/0@1 0 100
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         evaluated evaluate/2@1
         damaged m0.final
         show members
         show job
         ready w1 0
         model train/1@1 1 final
         trained train/1@1
         model train/0@2 0 final
         trained train/0@2
         show members
         averaged 0 bn
         ready w1 0
         ready w1 1
         damaged m1.final
         show tasks
         ready w1 0
         model train/1@2 1 final as=other
         trained train/1@2
         calibrated calibrate/4@1
         damaged calibrated
         show tasks
         ready w1 0
         ready w1 1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            checkpoint train/0@1 0 100
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as seed-0
            evaluated evaluate/2@1
            damaged m0.final
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"planned","digest":null,"bytes":null,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":1,"name":"seed-1","seed":1,"state":"training","digest":null,"bytes":null,"validation":null,"test":null}
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"the model of `seed-0` was damaged in the store, and is made again","members_ready":1,"members_total":2,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            ready w1 0
                grant w1/0 train/0@2: seed-0
            model train/1@1 1 final
            trained train/1@1
            model train/0@2 0 final
                average 0: m0.final m1.final
            trained train/0@2
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"evaluated","digest":"m0.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":1,"name":"seed-1","seed":1,"state":"trained","digest":"m1.final","bytes":10,"validation":null,"test":null}
            averaged 0 bn
            ready w1 0
                grant w1/0 evaluate/3@1: m1.final as seed-1
            ready w1 1
                grant w1/1 calibrate/4@1: soup as seed-0
            damaged m1.final
                revoke w1 evaluate/3@1
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/3","state":"blocked","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/calibrate/4","state":"leased","at":["w1",1],"attempt":1,"failures":0,"losses":0}
            ready w1 0
                grant w1/0 train/1@2: seed-1
            model train/1@2 1 final as=other
            trained train/1@2
            calibrated calibrate/4@1
            damaged calibrated
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/3","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/calibrate/4","state":"ready","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/5","state":"blocked","at":null,"attempt":0,"failures":0,"losses":0}
            ready w1 0
                grant w1/0 evaluate/3@2: other as seed-1
            ready w1 1
                grant w1/1 calibrate/4@2: soup as seed-0
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"done","at":null,"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/3","state":"leased","at":["w1",0],"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/calibrate/4","state":"leased","at":["w1",1],"attempt":2,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/5","state":"blocked","at":null,"attempt":0,"failures":0,"losses":0}
        "#]],
    );
}

#[test]
fn damaged_predictions_are_made_again_before_the_report() {
    check(
        "members: [{cross_validation: {folds: 2, keep: 1}}]",
        "submit
         join w1 2
         ready w1 0
         ready w1 1
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         evaluated evaluate/2@1 0.5
         damaged p-evaluate/2
         model train/1@1 1 final
         trained train/1@1
         ready w1 0
         ready w1 1
         evaluated evaluate/3@1 0.9
         evaluated evaluate/2@2 0.5
         damaged p-evaluate/2
         reported
         show job
         ready w1 0
         evaluated evaluate/2@3 0.5
         reported",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: fold-0
            ready w1 1
                grant w1/1 train/1@1: fold-1
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as fold-0
            evaluated evaluate/2@1 0.5
            damaged p-evaluate/2
            model train/1@1 1 final
            trained train/1@1
            ready w1 0
                grant w1/0 evaluate/2@2: m0.final as fold-0
            ready w1 1
                grant w1/1 evaluate/3@1: m1.final as fold-1
            evaluated evaluate/3@1 0.9
            evaluated evaluate/2@2 0.5
                combine fold-0=p-evaluate/2 | 
            damaged p-evaluate/2
            reported
                refused: job `demo-1` is not ready to be combined
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"waits for a slot","members_ready":1,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":null,"served":false}
            ready w1 0
                grant w1/0 evaluate/2@3: m0.final as fold-0
            evaluated evaluate/2@3 0.5
                combine fold-0=p-evaluate/2 | 
            reported
                demo-1 ended
        "#]],
    );
}

#[test]
fn a_snapshot_that_is_damaged_is_trained_anew_and_one_whose_training_is_given_up_is_lost() {
    check(
        "members: [{snapshots: {cycles: 3}}]\nensemble: {min_members: 1}",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 snapshot-0
         checkpoint train/0@1 0 100
         damaged m0.snapshot-0
         ready w1 0
         model train/0@2 0 snapshot-0
         model train/0@2 0 snapshot-1
         fail train/0@2 user
         damaged m0.snapshot-0
         show members
         ready w1 0
         evaluated evaluate/2@1
         reported
         show report",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: snapshots
            model train/0@1 0 snapshot-0
            checkpoint train/0@1 0 100
            damaged m0.snapshot-0
                revoke w1 train/0@1
            ready w1 0
                grant w1/0 train/0@2: snapshots
            model train/0@2 0 snapshot-0
            model train/0@2 0 snapshot-1
            fail train/0@2 user
            damaged m0.snapshot-0
            show members
                {"index":0,"name":"snapshot-0","seed":0,"state":"lost","lost":"its model was damaged in the store, and cannot be made again","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"snapshot-1","seed":0,"state":"trained","digest":"m0.snapshot-1","bytes":10,"validation":null,"test":null}
                {"index":2,"name":"snapshot-2","seed":0,"state":"lost","lost":"`demo-1/train/0` failed (user; never tried again): the network has no parameters","digest":null,"bytes":null,"validation":null,"test":null}
            ready w1 0
                grant w1/0 evaluate/2@1: m0.snapshot-1 as snapshots
            evaluated evaluate/2@1
                combine snapshot-1=p-evaluate/2 | 
            reported
                demo-1 ended
            show report
                {"members":[],"averages":[],"ensemble":{"name":"ensemble","validation":null,"test":null},"weights":[],"temperature":1.0,"disagreement":null,"lost":[{"name":"snapshot-0","why":"its model was damaged in the store, and cannot be made again"},{"name":"snapshot-2","why":"`demo-1/train/0` failed (user; never tried again): the network has no parameters"}]}
        "#]],
    );
}

#[test]
fn a_job_that_is_done_has_its_models_made_again() {
    check(
        "members: [{seeds: {count: 1}}]\naverage: [ema, {soup: {of: members}}]",
        "submit
         join w1 2
         ready w1 0
         model train/0@1 0 final
         model train/0@1 0 average-0 bn
         averaged 1
         trained train/0@1
         ready w1 0
         ready w1 1
         evaluated evaluate/1@1
         calibrated calibrate/2@1
         ready w1 0
         ready w1 1
         evaluated evaluate/3@1
         evaluated evaluate/4@1
         reported
         damaged m0.final
         show job
         ready w1 0
         model train/0@2 0 final
         trained train/0@2
         show job
         damaged soup
         averaged 1
         damaged calibrated
         ready w1 0
         ready w1 1
         fail train/0@3 data
         show job
         show references",
        expect![[r#"
            submit
                accepted demo-1
            join w1 2
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
                average 1: m0.final
            model train/0@1 0 average-0 bn
            averaged 1
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/1@1: m0.final as seed-0
            ready w1 1
                grant w1/1 calibrate/2@1: m0.average-0 as seed-0
            evaluated evaluate/1@1
            calibrated calibrate/2@1
            ready w1 0
                grant w1/0 evaluate/3@1: soup as seed-0
            ready w1 1
                grant w1/1 evaluate/4@1: calibrated as seed-0
            evaluated evaluate/3@1
            evaluated evaluate/4@1
                combine seed-0=p-evaluate/1 | ema=p-evaluate/4 soup=p-evaluate/3
            reported
                demo-1 ended
            damaged m0.final
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"done","detail":"the model of `seed-0` was damaged in the store, and is made again","members_ready":1,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
            ready w1 0
                grant w1/0 train/0@2: seed-0
            model train/0@2 0 final
            trained train/0@2
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"done","detail":"","members_ready":1,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
            damaged soup
                average 1: m0.final
            averaged 1
            damaged calibrated
            ready w1 0
                grant w1/0 train/0@3: seed-0
            ready w1 1
            fail train/0@3 data
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"done","detail":"the model of `ema` was damaged in the store, and cannot be made again: `demo-1/train/0` failed (data, on the only worker): label 11 is out of range","members_ready":1,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
            show references
                calibrated m0.final p-evaluate/1 p-evaluate/3 p-evaluate/4 soup
        "#]],
    );
}

#[test]
fn a_job_that_was_cancelled_only_says_what_it_lost() {
    check(
        "members: [{seeds: {count: 1}}]",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final
         cancel
         damaged m0.final
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
            cancel
                revoke w1 train/0@1
                demo-1 ended
            damaged m0.final
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"cancelled","detail":"the model of `seed-0` was damaged in the store","members_ready":0,"members_total":1,"members_lost":0,"submitted_ms":0,"ended_ms":0,"served":false}
        "#]],
    );
}
