//! The training loop, from task to model files.
#![allow(clippy::unwrap_used)]

mod lab;

use engine::error::TaskError;
use engine::random::{Purpose, Stream};
use ensemble::cluster::FailureClass;
use ensemble::job::{Constant, CosineCycles, LearningRate};
use ensemble::run::{Goal, ModelKind, MovingAverage, Run, Samples};
use lab::{Lab, distance, run, tensors};
use tch::Tensor;

const EMA: MovingAverage = MovingAverage { average: 0, decay: 0.9, warmup: true };

/// Everything random that there is: augmentation, dropout, data order; and everything that has state.
const BUSY: [&str; 4] = [
    "train.augment=[{random_crop: {padding: 2}}, horizontal_flip]",
    "train.regularize.dropout=0.2",
    "train.optimizer={adamw: {}}",
    "data.validation=0.25",
];

/// Goal: a run that was interrupted ends in the same bytes as one that was not, alone and in a pack, wherever it is
/// taken up again. Method: stop within the second of three epochs; go on from the end of the first, and from the middle.
#[test]
fn a_resumed_run_is_bit_identical() {
    let mut lab = Lab::new(128, 8);
    let job = lab.job(&BUSY);
    let mut runs = [run(&job, 0), run(&job, 1)];
    runs[0].averages = vec![EMA];
    for runs in [&runs[..1], &runs[..]] {
        let whole = lab.trained(&job, runs).bytes();
        assert_eq!(whole.len(), runs.len() + 1);
        let fresh = runs.iter().map(|run| (run.clone(), None)).collect();
        let (events, ended) = lab.train(&job, fresh, Some(5));
        assert!(matches!(ended, Err(TaskError::Stopped)));
        for step in [3, 5] {
            let resumed = runs.iter().map(|run| (run.clone(), Some(events.checkpoint(run.index, step)))).collect();
            let (events, ended) = lab.train(&job, resumed, None);
            ended.unwrap();
            assert!(events.bytes() == whole, "another model after resuming at step {step}");
        }
    }
}

/// Folds that differ by a sample cannot share every batch, and are trained all the same.
#[test]
fn folds_of_unequal_size_are_trained_one_after_the_other() {
    let mut lab = Lab::new(64, 8);
    let job = lab.job(&["train.epochs=1", "model.architecture={mlp: {hidden: [8]}}"]);
    let fold = |fold| Run { samples: Samples::AllButFold { fold, folds: 3 }, ..run(&job, fold) };
    let events = lab.trained(&job, &[fold(0), fold(1), fold(2)]);
    assert_eq!(events.models().len(), 3);
}

/// A pack whose checkpoints are of different ages is trained as packs that are in step.
#[test]
fn runs_out_of_step_are_trained_all_the_same() {
    let mut lab = Lab::new(96, 8);
    let job = lab.job(&["train.epochs=2"]);
    let runs = [run(&job, 0), run(&job, 1)];
    let events = lab.trained(&job, &runs);
    let resumed = vec![(runs[0].clone(), Some(events.checkpoint(0, 3))), (runs[1].clone(), None)];
    let (again, ended) = lab.train(&job, resumed, None);
    ended.unwrap();
    for index in 0..2 {
        assert!(distance(&events.tensors(index, ModelKind::Final), &again.tensors(index, ModelKind::Final)) < 1e-5);
    }
}

/// Goal: every member of a pack learns what it would have learned alone.
#[test]
fn a_pack_of_three_equals_the_three_alone() {
    let mut lab = Lab::new(160, 8);
    let job = lab.job(&[
        "train.epochs=2",
        "train.augment=[horizontal_flip]",
        "train.regularize.label_smoothing=0.1",
        "data.validation=0.2",
    ]);
    let mut runs = [run(&job, 0), run(&job, 1), run(&job, 2)];
    runs[2].train.learning_rate = LearningRate::Constant(Constant { max: 0.02 });
    runs[1].averages = vec![EMA];
    let pack = lab.trained(&job, &runs);
    for run in runs {
        let alone = lab.trained(&job, std::slice::from_ref(&run));
        for ((index, kind), path) in alone.models() {
            assert!(distance(&tensors(&path), &pack.tensors(index, kind)) < 1e-5, "{} {kind:?}", run.name);
        }
        let score = |events: &lab::Events| events.progress(run.index).last().unwrap().score.unwrap().nll;
        assert!((score(&alone) - score(&pack)).abs() < 1e-4, "{} against {}", score(&alone), score(&pack));
    }
}

/// Goal: a run without progress ends early with its best weights while the rest of its pack goes on undisturbed.
/// Method: a learning rate too small to move any weight, and a network without batch norm, so that every score is equal.
#[test]
fn a_member_stops_early_and_the_others_go_on() {
    let mut lab = Lab::new(128, 8);
    let job = lab.job(&[
        "train.early_stopping={patience: 2}",
        "train.epochs=6",
        "data.validation=0.25",
        "model.architecture={mlp: {hidden: [16]}}",
        "train.optimizer={sgd: {weight_decay: 0}}",
        "train.learning_rate={constant: {max: 0.02}}",
    ]);
    let mut runs = [run(&job, 0), run(&job, 1)];
    runs[1].train.learning_rate = LearningRate::Constant(Constant { max: 1e-30 });
    let pack = lab.trained(&job, &runs);
    assert_eq!(pack.progress(1).last().unwrap().step, 9, "one epoch sets the best score, two more bring none");
    assert_eq!(pack.progress(0).last().unwrap().step, 18);

    let stopped = pack.checkpoint(1, 9);
    let (again, ended) = lab.train(&job, vec![(runs[1].clone(), Some(stopped))], None);
    ended.unwrap();
    assert!(again.progress(1).is_empty(), "a run that had stopped stays as it is");
    assert_eq!(again.bytes()[&(1, ModelKind::Final)], pack.bytes()[&(1, ModelKind::Final)]);

    let alone = lab.trained(&job, &runs[..1]);
    assert!(distance(&alone.tensors(0, ModelKind::Final), &pack.tensors(0, ModelKind::Final)) < 1e-5);
}

/// Goal: the stochastic weight average is the mean of the weights at the ends of epochs after the branch. Method: a
/// branch with its parent's seed and learning rate follows the parent's own trajectory, whose weights are known.
#[test]
fn swa_branches_off_exactly_and_averages_the_ends_of_epochs() {
    let mut lab = Lab::new(96, 8);
    let job =
        lab.job(&["train.epochs=4", "train.learning_rate={constant: {max: 0.05}}", "model.architecture={mlp: {}}"]);
    let parent = Run { branch_points: vec![0.4], ..run(&job, 0) };
    let events = lab.trained(&job, std::slice::from_ref(&parent));
    let branch = events.checkpoints().into_iter().find(|checkpoint| checkpoint.2 == Some(0)).unwrap();
    assert_eq!((branch.0, branch.1), (0, 5), "40 % of 12 steps, rounded");

    let goal = Goal::Swa { average: 3, from_run: 0, start: 0.4 };
    let swa = Run { index: 1, name: "swa".to_owned(), goal, branch_points: Vec::new(), ..parent.clone() };
    let (averaged, ended) = lab.train(&job, vec![(swa.clone(), Some(branch.3))], None);
    ended.unwrap();
    assert_eq!(averaged.models().keys().collect::<Vec<_>>(), [&(1, ModelKind::Average { index: 3 })]);

    let at = |step| {
        tensors(&events.checkpoint(0, step))
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("model.")?.to_owned(), tensor)))
    };
    let last = events.tensors(0, ModelKind::Final);
    let mean = at(6).zip(at(9)).map(|((name, a), (_, b))| {
        let c = &last.iter().find(|(known, _)| *known == name).unwrap().1;
        (name, (a + b + c) / 3.0)
    });
    assert!(distance(&averaged.tensors(1, ModelKind::Average { index: 3 }), &mean.collect()) < 1e-6);

    let (_, without) = lab.train(&job, vec![(swa, None)], None);
    assert_eq!(
        without.unwrap_err().to_string(),
        "run `swa` averages along another run, but has no checkpoint of it to start from"
    );
}

#[test]
fn snapshots_are_taken_at_the_ends_of_the_last_cycles() {
    let mut lab = Lab::new(64, 8);
    let mut job = lab.job(&["train.epochs=6", "model.architecture={mlp: {hidden: [8]}}"]);
    job.train.learning_rate = LearningRate::CosineCycles(CosineCycles { max: 0.1, min: 0.0, cycles: 3 });
    let snapshots = Run { goal: Goal::Snapshots { keep_last: 2 }, ..run(&job, 0) };
    let events = lab.trained(&job, &[snapshots]);
    let kinds: Vec<_> = events.models().into_keys().collect();
    assert_eq!(kinds, [1, 2].map(|cycle| (0, ModelKind::Snapshot { cycle })));
    let middle = tensors(&events.checkpoint(0, 8))
        .into_iter()
        .filter_map(|(n, t)| Some((n.strip_prefix("model.")?.to_owned(), t)));
    assert_eq!(distance(&events.tensors(0, ModelKind::Snapshot { cycle: 1 }), &middle.collect()), 0.0);
}

#[test]
fn folds_learn_from_the_other_folds_and_are_scored_on_their_own() {
    let mut lab = Lab::new(100, 8);
    let job = lab.job(&["data.validation=0.1", "train.epochs=1", "model.architecture={mlp: {hidden: [8]}}"]);
    let fold = |fold| Run { samples: Samples::AllButFold { fold, folds: 3 }, ..run(&job, fold) };
    let events = lab.trained(&job, &[fold(0), fold(1), fold(2)]);
    assert!((0..3).all(|index| events.progress(index).last().unwrap().score.is_some()));
    let score = |events: &lab::Events| events.progress(0).last().unwrap().score.unwrap();
    let plain = lab.trained(&job, &[run(&job, 0)]);
    assert_ne!(score(&plain), score(&events));
}

/// A sane accuracy on real images, in both precisions. Deterministic: the same machine gives the same every time.
#[test]
fn fashion_mnist_is_learned() {
    let mut lab = Lab::new(3000, 8);
    for precision in ["f32", "bf16"] {
        let precision = format!("train.precision={precision}");
        let job = lab.job(&[
            "data.validation=0.2",
            "train.epochs=4",
            "train.learning_rate={one_cycle: {max: 0.1}}",
            &precision,
        ]);
        let events = lab.trained(&job, &[run(&job, 0)]);
        let score = events.progress(0).last().unwrap().score.unwrap();
        assert!(score.accuracy > 0.78 && score.nll < 0.62, "{precision}: {score:?}");
    }
}

/// Color images of floats, from safetensors: the class is the channel that is brighter than the others.
#[test]
fn colors_are_learned_from_safetensors() {
    let mut lab = Lab::new(1, 1);
    let noise = Stream::new(1, Purpose::DataOrder, 0);
    for (name, count) in [("train", 240i64), ("test", 30)] {
        let labels: Vec<i64> = (0..count).map(|sample| sample % 3).collect();
        let pixel = |index: u64| {
            let (sample, channel) = (index as i64 / 192, index as i64 / 64 % 3);
            noise.uniform(index) as f32 * 0.5 + if channel == sample % 3 { 0.3 } else { 0.0 }
        };
        let pixels: Vec<f32> = (0..count as u64 * 192).map(pixel).collect();
        let x = Tensor::from_slice(&pixels).view([count, 3, 8, 8]);
        let tensors = vec![("x".to_owned(), x), ("y".to_owned(), Tensor::from_slice(&labels))];
        let path = lab.data.path().join(format!("{name}.safetensors"));
        engine::artifact::write(&path, &tensors, &Default::default()).unwrap();
    }
    let job = lab.job(&[
        "data.format=safetensors",
        "data.validation=0.25",
        "train.augment=[{random_crop: {padding: 1}}, horizontal_flip]",
        "train.learning_rate={constant: {max: 0.05}}",
    ]);
    let score = lab.trained(&job, &[run(&job, 0)]).progress(0).last().unwrap().score.unwrap();
    assert!(score.accuracy > 0.9, "{score:?}");
}

#[test]
fn what_cannot_work_is_said_plainly_and_classified() {
    let mut lab = Lab::new(64, 8);
    let mut failure = |set: &[&str], change: &dyn Fn(&mut Vec<Run>)| {
        let job = lab.job(set);
        let mut runs = vec![run(&job, 0), run(&job, 1)];
        change(&mut runs);
        let error = lab.train(&job, runs.into_iter().map(|run| (run, None)).collect(), None).1.unwrap_err();
        (error.class(), error.to_string())
    };
    let unequal = failure(&[], &|runs| runs[1].train.batch_size = 16);
    let expected = "runs `seed-0` and `seed-1` cannot train in one pack: their batch sizes differ; set `train.pack: 1`";
    assert_eq!(unequal, (FailureClass::User, expected.to_owned()));

    let unscored = failure(&["train.early_stopping={patience: 1}"], &|_| {});
    let expected = "`train.early_stopping` needs samples to score on; set `data.validation` above 0";
    assert_eq!(unscored, (FailureClass::User, expected.to_owned()));

    let (class, message) = failure(&["train.learning_rate={constant: {max: 1e30}}", "train.epochs=8"], &|_| {});
    assert_eq!(class, FailureClass::User);
    assert!(message.starts_with("the loss of `seed-0` is NaN at step "), "{message}");
    assert!(
        message.contains("learning rate 1000000000000000000000000000000: lower `train.learning_rate`"),
        "{message}"
    );

    let (class, message) = failure(&["data.path=/nowhere"], &|_| {});
    assert_eq!(class, FailureClass::Data);
    assert!(message.starts_with("data in /nowhere: none of train-images-idx3-ubyte, "), "{message}");
}

/// It is written while the run goes on, and the run ends for want of it all the same.
#[test]
fn a_checkpoint_that_cannot_be_written_fails_the_task() {
    let mut lab = Lab::new(64, 8);
    let job = lab.job(&["train.epochs=50", "model.architecture={mlp: {hidden: [8]}}"]);
    std::fs::remove_dir_all(lab.scratch.path()).unwrap();
    let (events, ended) = lab.train(&job, vec![(run(&job, 0), None)], None);
    let error = ended.unwrap_err();
    assert_eq!(error.class(), FailureClass::Infrastructure);
    assert!(error.to_string().contains("step-2.checkpoint"), "{error}");
    assert_eq!(events.checkpoints(), []);
}

#[test]
fn a_checkpoint_of_another_run_or_a_damaged_one_is_refused() {
    let mut lab = Lab::new(64, 8);
    let job = lab.job(&["train.epochs=2", "model.architecture={mlp: {hidden: [8]}}"]);
    let path = lab.trained(&job, &[run(&job, 0)]).checkpoint(0, 2);
    let mut refused = |run: Run| lab.train(&job, vec![(run, Some(path.clone()))], None).1.unwrap_err().to_string();
    let message = refused(run(&job, 1));
    assert!(
        message.ends_with("it is a checkpoint of run `seed-0` (seed 0), from which `seed-1` (seed 1) cannot go on")
    );
    let mut wider = run(&job, 0);
    wider.model = Lab::new(1, 1).job(&["model.architecture={mlp: {hidden: [9]}}"]).model;
    let message = refused(wider);
    assert_eq!(message, "tensor hidden.0.weight has shape [8, 784], but the architecture needs [9, 784]");
    std::fs::write(&path, b"garbage").unwrap();
    assert!(refused(run(&job, 0)).ends_with("the file has fewer than 8 bytes; it may be damaged"));
}

/// Goal: the whole loop agrees with PyTorch: data order and initial weights given, every loss of 20 steps, the weights,
/// the running statistics and the moving average at the end. `reference/training.py` wrote the figures, in f64.
#[test]
fn twenty_steps_agree_with_pytorch() {
    let path = format!("{}/tests/reference/training.json", env!("CARGO_MANIFEST_DIR"));
    let figures: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let numbers = |key: &str| figures[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    let mut lab = Lab::new(70, 8);
    let job = lab.job(&[
        "seed=7",
        "train.epochs=10",
        "train.batch_size=40",
        "train.learning_rate={cosine: {max: 0.02}}",
        "train.regularize.label_smoothing=0.1",
    ]);
    let of = Run { averages: vec![EMA], ..run(&job, 3) };
    let events = lab.trained(&job, &[of]);

    let expected: Vec<f64> = numbers("losses").chunks(2).map(|losses| losses.iter().sum()).collect();
    for (epoch, (found, expected)) in loss_sums(&events, 2).into_iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-4, "epoch {epoch}: {found} against {expected}");
    }
    let close = |kind, name: &str, key: &str| {
        let tensors = events.tensors(3, kind);
        let found = Vec::<f64>::try_from(&tensors.iter().find(|(known, _)| known == name).unwrap().1).unwrap();
        let difference = found.iter().zip(numbers(key)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(difference < 1e-4, "{key}: {difference}");
    };
    close(ModelKind::Final, "fc.bias", "fc.bias");
    close(ModelKind::Final, "bn1.running_var", "bn1.running_var");
    close(ModelKind::Average { index: 0 }, "fc.bias", "average fc.bias");
}

/// The sum of the losses of each epoch, however its steps were spread over reports.
fn loss_sums(events: &lab::Events, per_epoch: u64) -> Vec<f64> {
    let (mut sums, mut sum, mut last) = (Vec::new(), 0.0, 0);
    for progress in events.progress(3) {
        sum += progress.loss * (progress.step - last) as f64;
        last = progress.step;
        if last.is_multiple_of(per_epoch) {
            sums.push(std::mem::take(&mut sum));
        }
    }
    sums
}
