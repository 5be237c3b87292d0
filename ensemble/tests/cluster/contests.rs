//! Cross-validation: who wins, and what becomes of the winners.

use crate::script::check;
use expect_test::expect;

#[test]
fn the_best_fold_models_become_members_and_ties_go_to_the_first() {
    check(
        "members: [{seeds: {count: 1}}, {cross_validation: {folds: 3, keep: 2}}]",
        "submit
         show members
         join w1 1
         ready w1 0
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         evaluated evaluate/4@1
         ready w1 0
         model train/1@1 1 final
         trained train/1@1
         ready w1 0
         evaluated evaluate/5@1 0.9
         ready w1 0
         model train/2@1 2 final
         trained train/2@1
         ready w1 0
         evaluated evaluate/6@1 0.4
         ready w1 0
         model train/3@1 3 final
         trained train/3@1
         ready w1 0
         evaluated evaluate/7@1 0.4
         show members",
        expect![[r#"
            submit
                accepted demo-1
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"winner-0","seed":null,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":2,"name":"winner-1","seed":null,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: seed-0
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/4@1: m0.final as seed-0
            evaluated evaluate/4@1
            ready w1 0
                grant w1/0 train/1@1: fold-0
            model train/1@1 1 final
            trained train/1@1
            ready w1 0
                grant w1/0 evaluate/5@1: m1.final as fold-0
            evaluated evaluate/5@1 0.9
            ready w1 0
                grant w1/0 train/2@1: fold-1
            model train/2@1 2 final
            trained train/2@1
            ready w1 0
                grant w1/0 evaluate/6@1: m2.final as fold-1
            evaluated evaluate/6@1 0.4
            ready w1 0
                grant w1/0 train/3@1: fold-2
            model train/3@1 3 final
            trained train/3@1
            ready w1 0
                grant w1/0 evaluate/7@1: m3.final as fold-2
            evaluated evaluate/7@1 0.4
                combine seed-0=p-evaluate/4 fold-1=p-evaluate/6 fold-2=p-evaluate/7 | 
            show members
                {"index":0,"name":"seed-0","seed":0,"state":"evaluated","digest":"m0.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":1,"name":"fold-1","seed":2,"state":"evaluated","digest":"m2.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
                {"index":2,"name":"fold-2","seed":3,"state":"evaluated","digest":"m3.final","bytes":10,"validation":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100},"test":{"accuracy":0.95,"nll":0.5,"brier":0.1,"ece":0.01,"samples":100}}
        "#]],
    );
}

#[test]
fn a_fold_without_its_score_counts_as_a_failure() {
    check(
        "members: [{cross_validation: {folds: 2, keep: 1}}]",
        "submit
         join w1 1
         ready w1 0
         model train/0@1 0 final
         trained train/0@1
         ready w1 0
         evaluated evaluate/2@1
         show tasks",
        expect![[r#"
            submit
                accepted demo-1
            join w1 1
            ready w1 0
                grant w1/0 train/0@1: fold-0
            model train/0@1 0 final
            trained train/0@1
            ready w1 0
                grant w1/0 evaluate/2@1: m0.final as fold-0
            evaluated evaluate/2@1
            show tasks
                {"id":"demo-1/train/0","state":"done","at":null,"attempt":1,"failures":0,"losses":0}
                {"id":"demo-1/train/1","state":"ready","at":null,"attempt":0,"failures":0,"losses":0}
                {"id":"demo-1/evaluate/2","state":"paused","at":null,"attempt":1,"failures":1,"losses":0}
        "#]],
    );
}

#[test]
fn the_best_configurations_are_trained_again_on_everything() {
    check(
        "members: [{cross_validation: {folds: 2, grid: {train.learning_rate.max: [0.1, 0.2, 0.3]}, keep: 2, \
         winners: configurations, metric: accuracy}}]\naverage: [{soup: {of: members, force: true}}]",
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
         model train/3@1 3 final
         model train/4@1 4 final
         model train/5@1 5 final
         trained train/0@1
         trained train/1@1
         trained train/2@1
         trained train/3@1
         trained train/4@1
         trained train/5@1
         ready w1 0
         ready w1 1
         ready w1 2
         ready w1 3
         ready w1 4
         ready w1 5
         evaluated evaluate/6@1 0.5
         evaluated evaluate/7@1 0.3
         evaluated evaluate/8@1 0.2
         evaluated evaluate/9@1 0.5
         evaluated evaluate/10@1 0.9
         show members
         evaluated evaluate/11@1 0.2
         ready w1 0
         ready w1 1
         show runs
         show members
         model train/12@1 6 final
         trained train/12@1
         model train/13@1 7 final
         trained train/13@1
         averaged 0
         ready w1 0
         ready w1 1
         ready w1 2
         evaluated evaluate/14@1
         evaluated evaluate/15@1
         evaluated evaluate/16@1
         reported",
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
            model train/3@1 3 final
            model train/4@1 4 final
            model train/5@1 5 final
            trained train/0@1
            trained train/1@1
            trained train/2@1
            trained train/3@1
            trained train/4@1
            trained train/5@1
            ready w1 0
                grant w1/0 evaluate/6@1: m0.final as fold-0-config-0
            ready w1 1
                grant w1/1 evaluate/7@1: m1.final as fold-0-config-1
            ready w1 2
                grant w1/2 evaluate/8@1: m2.final as fold-0-config-2
            ready w1 3
                grant w1/3 evaluate/9@1: m3.final as fold-1-config-0
            ready w1 4
                grant w1/4 evaluate/10@1: m4.final as fold-1-config-1
            ready w1 5
                grant w1/5 evaluate/11@1: m5.final as fold-1-config-2
            evaluated evaluate/6@1 0.5
            evaluated evaluate/7@1 0.3
            evaluated evaluate/8@1 0.2
            evaluated evaluate/9@1 0.5
            evaluated evaluate/10@1 0.9
            show members
                {"index":0,"name":"winner-0","seed":null,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"winner-1","seed":null,"state":"planned","digest":null,"bytes":null,"validation":null,"test":null}
            evaluated evaluate/11@1 0.2
            ready w1 0
                grant w1/0 train/12@1: config-2
            ready w1 1
                grant w1/1 train/13@1: config-0
            show runs
                {"index":0,"run":"fold-0-config-0","task":"demo-1/train/0","state":"done","worker":null,"attempt":1}
                {"index":1,"run":"fold-0-config-1","task":"demo-1/train/1","state":"done","worker":null,"attempt":1}
                {"index":2,"run":"fold-0-config-2","task":"demo-1/train/2","state":"done","worker":null,"attempt":1}
                {"index":3,"run":"fold-1-config-0","task":"demo-1/train/3","state":"done","worker":null,"attempt":1}
                {"index":4,"run":"fold-1-config-1","task":"demo-1/train/4","state":"done","worker":null,"attempt":1}
                {"index":5,"run":"fold-1-config-2","task":"demo-1/train/5","state":"done","worker":null,"attempt":1}
                {"index":6,"run":"config-2","task":"demo-1/train/12","state":"training","worker":"w1","attempt":1}
                {"index":7,"run":"config-0","task":"demo-1/train/13","state":"training","worker":"w1","attempt":1}
            show members
                {"index":0,"name":"config-2","seed":6,"state":"training","digest":null,"bytes":null,"validation":null,"test":null}
                {"index":1,"name":"config-0","seed":7,"state":"training","digest":null,"bytes":null,"validation":null,"test":null}
            model train/12@1 6 final
            trained train/12@1
            model train/13@1 7 final
                average 0: m6.final m7.final
            trained train/13@1
            averaged 0
            ready w1 0
                grant w1/0 evaluate/14@1: m6.final as config-2
            ready w1 1
                grant w1/1 evaluate/15@1: m7.final as config-0
            ready w1 2
                grant w1/2 evaluate/16@1: soup as config-2
            evaluated evaluate/14@1
            evaluated evaluate/15@1
            evaluated evaluate/16@1
                combine config-2=p-evaluate/14 config-0=p-evaluate/15 | soup=p-evaluate/16
            reported
                demo-1 ended
        "#]],
    );
}
