//! Jobs that go on without what failed for good.

use crate::script::{check, report};
use ensemble::report::Report;
use expect_test::expect;

#[test]
fn a_report_from_before_losses_were_told_is_still_read() {
    let old = r#"{"members":[],"averages":[],"ensemble":{"name":"ensemble","validation":null,"test":null},"weights":[],
        "temperature":1.0,"disagreement":null}"#;
    assert_eq!(serde_json::from_str::<Report>(old).unwrap(), report());
}

#[test]
fn a_job_goes_on_as_long_as_enough_members_can_be_had() {
    check(
        "members: [{seeds: {count: 3}}]\nensemble: {min_members: 2, weights: [1, 2, 3]}",
        "submit
         join w1 1
         ready w1 0
         fail train/0@1 user
         show job
         ready w1 0
         model train/1@1 1 final
         trained train/1@1
         ready w1 0
         evaluated evaluate/3@1
         ready w1 0
         model train/2@1 2 final
         trained train/2@1
         ready w1 0
         evaluated evaluate/4@1
         show members
         reported
         reported
         show report
         show job",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            fail train/0@1 user
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"it does without `seed-0` (`demo-1/train/0` failed (user; never tried again): the network has no parameters); waits for a slot","members_ready":0,"members_total":3,"members_lost":1,"submitted_ms":0,"ended_ms":null,"served":false}
            ready w1 0
                grant w1/0 train/1@1: seed-1
            model train/1@1 1 final
            trained train/1@1
            ready w1 0
                grant w1/0 evaluate/3@1: m1.final as seed-1
            evaluated evaluate/3@1
            ready w1 0
                grant w1/0 train/2@1: seed-2
            model train/2@1 2 final
            trained train/2@1
            ready w1 0
                grant w1/0 evaluate/4@1: m2.final as seed-2
            evaluated evaluate/4@1
                combine seed-1=p-evaluate/3 seed-2=p-evaluate/4 | 
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"lost","lost":"`demo-1/train/0` failed (user; never tried again): the network has no parameters","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"seed-1","seed":1,"state":"evaluated","digest":"m1.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":2,"name":"seed-2","seed":2,"state":"evaluated","digest":"m2.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
            reported
                demo-1 ended
            reported
            show report
                {"members":[],"averages":[],"ensemble":{"name":"ensemble","validation":null,"test":null},"weights":[],"temperature":1.0,"disagreement":null,"lost":[{"name":"seed-0","why":"`demo-1/train/0` failed (user; never tried again): the network has no parameters"}]}
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"done","detail":"it does without `seed-0` (`demo-1/train/0` failed (user; never tried again): the network has no parameters)","members_ready":2,"members_total":3,"members_lost":1,"submitted_ms":0,"ended_ms":0,"served":false}
        "#]],
    );
}

#[test]
fn a_job_that_cannot_have_enough_members_any_more_fails_and_says_why() {
    check(
        "members: [{seeds: {count: 3}}]\nensemble: {min_members: 2}",
        "submit
         join w1 3
         ready w1 0
         ready w1 1
         ready w1 2
         fail train/0@1 user
         fail train/1@1 data
         show job",
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
            fail train/0@1 user
            fail train/1@1 data
                revoke w1 train/2@1
                demo-1 ended
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"failed","detail":"2 of 3 members are lost, and `ensemble.min_members` asks for 2; the last was lost because `demo-1/train/1` failed (data, on the only worker): label 11 is out of range","failed_task":"demo-1/train/1","members_ready":0,"members_total":3,"members_lost":2,"submitted_ms":0,"ended_ms":0,"served":false}
        "#]],
    );
}

#[test]
fn averages_go_with_their_runs_and_soups_take_what_is_left() {
    check(
        "members: [{seeds: {count: 2}}, {snapshots: {cycles: 2}}]\nensemble: {min_members: 2}\n\
         average: [{ema: {member: 0}}, {swa: {member: 0}}, {soup: {of: snapshots}}, {soup: {of: members, force: true}}]",
        "submit
         join w1 4
         ready w1 0
         ready w1 1
         ready w1 2
         model train/2@1 2 snapshot-0
         fail train/2@1 user
         fail train/0@1 user
         show job
         averaged 2
         model train/1@1 1 final
         trained train/1@1
         averaged 3 refused
         ready w1 0
         ready w1 1
         ready w1 2
         evaluated evaluate/4@1
         evaluated evaluate/5@1
         evaluated evaluate/6@1
         show members
         show averages
         show runs
         show tasks
         reported
         show report",
        expect![[r#"
            submit
                accepted demo-1
            join w1 4
            ready w1 0
                grant w1/0 train/0@1: seed-0
            ready w1 1
                grant w1/1 train/1@1: seed-1
            ready w1 2
                grant w1/2 train/2@1: snapshots
            model train/2@1 2 snapshot-0
            fail train/2@1 user
                average 2: m2.snapshot-0
            fail train/0@1 user
            show job
                {"id":"demo-1","name":"demo","namespace":"default","priority":50,"phase":"running","detail":"it does without `seed-0` (`demo-1/train/0` failed (user; never tried again): the network has no parameters), `snapshot-1` (`demo-1/train/2` failed (user; never tried again): the network has no parameters), `ema` (`demo-1/train/0` failed (user; never tried again): the network has no parameters) and 1 more","members_ready":0,"members_total":4,"members_lost":2,"submitted_ms":0,"ended_ms":null,"served":false}
            averaged 2
            model train/1@1 1 final
                average 3: m1.final m2.snapshot-0
            trained train/1@1
            averaged 3 refused
            ready w1 0
                grant w1/0 evaluate/4@1: m2.snapshot-0 as snapshots
            ready w1 1
                grant w1/1 evaluate/5@1: soup as snapshots
            ready w1 2
                grant w1/2 evaluate/6@1: m1.final as seed-1
            evaluated evaluate/4@1
            evaluated evaluate/5@1
            evaluated evaluate/6@1
                combine seed-1=p-evaluate/6 snapshot-0=p-evaluate/4 | soup=p-evaluate/5
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"lost","lost":"`demo-1/train/0` failed (user; never tried again): the network has no parameters","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"seed-1","seed":1,"state":"evaluated","digest":"m1.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":2,"name":"snapshot-0","seed":2,"state":"evaluated","digest":"m2.snapshot-0","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":3,"name":"snapshot-1","seed":2,"state":"lost","lost":"`demo-1/train/2` failed (user; never tried again): the network has no parameters","digest":null,"bytes":null,"validation":null,"test":null}
            show averages
                {"index":0,"name":"ema","state":"lost","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"swa","state":"lost","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":2,"name":"soup","state":"evaluated","digest":"soup","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":3,"name":"soup-2","state":"lost","digest":null,"bytes":null,"validation":null,"test":null}
            show runs
                {"index":0,"run":"seed-0","task":"demo-1/train/0","state":"failed","worker":null,"attempt":1}
                {"index":1,"run":"seed-1","task":"demo-1/train/1","state":"done","worker":null,"attempt":1}
                {"index":2,"run":"snapshots","task":"demo-1/train/2","state":"failed","worker":null,"attempt":1}
                {"index":3,"run":"swa","task":"demo-1/train/3","state":"failed","worker":null,"attempt":0}
            show tasks
                {"id":"demo-1/train/0","state":"failed","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/2","state":"failed","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/3","state":"withdrawn","at":null,"attempt":0,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/4","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/5","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/6","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
            reported
                demo-1 ended
            show report
                {"members":[],"averages":[],"ensemble":{"name":"ensemble","validation":null,"test":null},"weights":[],"temperature":1.0,"disagreement":null,"lost":[{"name":"seed-0","why":"`demo-1/train/0` failed (user; never tried again): the network has no parameters"},{"name":"snapshot-1","why":"`demo-1/train/2` failed (user; never tried again): the network has no parameters"},{"name":"ema","why":"`demo-1/train/0` failed (user; never tried again): the network has no parameters"},{"name":"swa","why":"`demo-1/train/0` failed (user; never tried again): the network has no parameters"},{"name":"soup-2","why":"`soup-2` cannot be made: `fc.weight` has other shapes"}]}
        "#]],
    );
}

#[test]
fn a_contest_is_decided_among_what_is_left() {
    check(
        "members: [{cross_validation: {folds: 3, keep: 3}}]\nensemble: {min_members: 1}",
        "submit
         join w1 3
         ready w1 0
         ready w1 1
         ready w1 2
         fail train/0@1 user
         show members
         model train/1@1 1 final
         trained train/1@1
         model train/2@1 2 final
         trained train/2@1
         ready w1 0
         ready w1 1
         evaluated evaluate/3@1 0.9
         evaluated evaluate/4@1 0.4
         show members",
        expect![[r#"
            submit
                accepted demo-1
            join w1 3
            ready w1 0
                grant w1/0 train/0@1: fold-0
            ready w1 1
                grant w1/1 train/1@1: fold-1
            ready w1 2
                grant w1/2 train/2@1: fold-2
            fail train/0@1 user
            show members
                {"index":0,"name":"winner-0","seed":null,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"winner-1","seed":null,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":2,"name":"winner-2","seed":null,"state":"lost","lost":"too few runs of its cross-validation are left","digest":null,"bytes":null,"validation":null,"test":null}
            model train/1@1 1 final
            trained train/1@1
            model train/2@1 2 final
            trained train/2@1
            ready w1 0
                grant w1/0 evaluate/3@1: m1.final as fold-1
            ready w1 1
                grant w1/1 evaluate/4@1: m2.final as fold-2
            evaluated evaluate/3@1 0.9
            evaluated evaluate/4@1 0.4
                combine fold-2=p-evaluate/4 fold-1=p-evaluate/3 | 
            show members
                {"index":0,"name":"fold-2","seed":2,"state":"evaluated","digest":"m2.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":1,"name":"fold-1","seed":1,"state":"evaluated","digest":"m1.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":2,"name":"winner-2","seed":null,"state":"lost","lost":"too few runs of its cross-validation are left","digest":null,"bytes":null,"validation":null,"test":null}
        "#]],
    );
}

/// `config-0` is best on the one fold that it was tried on.
#[test]
fn a_configuration_of_which_folds_are_lost_comes_after_those_that_were_tried_on_all() {
    check(
        "members: [{cross_validation: {folds: 2, grid: {train.learning_rate.max: [0.1, 0.2, 0.3]}, keep: 3, \
         winners: configurations}}]\nensemble: {min_members: 1}",
        "submit
         join w1 6
         ready w1 0
         ready w1 1
         ready w1 2
         ready w1 3
         ready w1 4
         ready w1 5
         model train/0@1 0 final
         model train/1@1 1 final
         model train/2@1 2 final
         fail train/3@1 user
         model train/4@1 4 final
         fail train/5@1 user
         trained train/0@1
         trained train/1@1
         trained train/2@1
         trained train/4@1
         ready w1 0
         ready w1 1
         ready w1 2
         ready w1 3
         evaluated evaluate/6@1 0.1
         fail evaluate/8@1 user
         evaluated evaluate/7@1 0.9
         evaluated evaluate/9@1 0.9
         ready w1 0
         show members",
        expect![[r#"
            submit
                accepted demo-1
            join w1 6
            ready w1 0
                grant w1/0 train/0@1: fold-0-config-0
            ready w1 1
                grant w1/1 train/1@1: fold-0-config-1
            ready w1 2
                grant w1/2 train/2@1: fold-0-config-2
            ready w1 3
                grant w1/3 train/3@1: fold-1-config-0
            ready w1 4
                grant w1/4 train/4@1: fold-1-config-1
            ready w1 5
                grant w1/5 train/5@1: fold-1-config-2
            model train/0@1 0 final
            model train/1@1 1 final
            model train/2@1 2 final
            fail train/3@1 user
            model train/4@1 4 final
            fail train/5@1 user
            trained train/0@1
            trained train/1@1
            trained train/2@1
            trained train/4@1
            ready w1 0
                grant w1/0 evaluate/6@1: m0.final as fold-0-config-0
            ready w1 1
                grant w1/1 evaluate/7@1: m1.final as fold-0-config-1
            ready w1 2
                grant w1/2 evaluate/8@1: m2.final as fold-0-config-2
            ready w1 3
                grant w1/3 evaluate/9@1: m4.final as fold-1-config-1
            evaluated evaluate/6@1 0.1
            fail evaluate/8@1 user
            evaluated evaluate/7@1 0.9
            evaluated evaluate/9@1 0.9
            ready w1 0
                grant w1/0 train/10@1: config-1
            show members
                {"index":0,"name":"config-1","seed":6,"state":"training","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"config-0","seed":7,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":2,"name":"winner-2","seed":null,"state":"lost","lost":"too few runs of its cross-validation are left","digest":null,"bytes":null,"validation":null,"test":null}
        "#]],
    );
}
