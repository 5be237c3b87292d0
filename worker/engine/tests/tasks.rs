//! Evaluation, calibration and prediction of stored models.
#![allow(clippy::unwrap_used)]

mod lab;

use engine::artifact;
use engine::calibrate::calibrate;
use engine::evaluate::evaluate;
use engine::predict::{Predictor, Question};
use ensemble::run::{ModelKind, MovingAverage, Run, Samples};
use lab::{Lab, Silent, distance, run, tensors};
use tch::{Device, Kind, Tensor};

const EMA: MovingAverage = MovingAverage { average: 0, decay: 0.5, warmup: false };

fn of<'a>(tensors: &'a artifact::Tensors, name: &str) -> &'a Tensor {
    &tensors.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn predictions_cover_every_part_that_there_is() {
    let mut lab = Lab::new(100, 30);
    let job = lab.job(&["data.validation=0.2", "train.epochs=1", "model.architecture={mlp: {hidden: [8]}}"]);
    let fold = Run { samples: Samples::AllButFold { fold: 1, folds: 4 }, ..run(&job, 0) };
    let events = lab.trained(&job, &[run(&job, 1)]);
    let model = events.models()[&(1, ModelKind::Final)].clone();
    let task = lab.model_task(&job, &fold, model.clone());
    let file = tensors(&evaluate(&mut lab.session, &task, &mut Silent).unwrap());
    let shapes =
        |part: &str| (of(&file, &format!("{part}.logits")).size(), of(&file, &format!("{part}.labels")).size());
    assert_eq!(shapes("validation"), (vec![20, 10], vec![20]));
    assert_eq!(shapes("test"), (vec![30, 10], vec![30]));
    assert_eq!(shapes("held_out"), (vec![20, 10], vec![20]));
    assert_eq!(of(&file, "held_out.indices").kind(), Kind::Int64);

    // What a run was scored on while it trained is what its model is scored on afterwards.
    let task = lab.model_task(&job, &run(&job, 1), model);
    let file = tensors(&evaluate(&mut lab.session, &task, &mut Silent).unwrap());
    assert!(file.iter().all(|(name, _)| !name.starts_with("held_out")));
    let right = of(&file, "validation.logits").argmax(-1, false).eq_tensor(of(&file, "validation.labels"));
    let score = events.progress(1).last().unwrap().score.unwrap();
    assert!((right.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]) - score.accuracy).abs() < 1e-12);
}

/// Goal: calibration gives the statistics that `update_bn` would. Method: those of the first normalization have a closed
/// form: mean over batches of each batch's own mean and unbiased variance of the first convolution's output.
#[test]
fn an_average_is_calibrated_on_the_training_samples() {
    let mut lab = Lab::new(96, 8);
    let job = lab.job(&["train.epochs=1", "train.augment=[horizontal_flip]"]);
    let trained = Run { averages: vec![EMA], ..run(&job, 0) };
    let events = lab.trained(&job, std::slice::from_ref(&trained));
    let average = events.models()[&(0, ModelKind::Average { index: 0 })].clone();
    let task = lab.model_task(&job, &trained, average.clone());
    let calibrated = calibrate(&mut lab.session, &task, &mut Silent).unwrap();
    let (before, after) = (tensors(&average), tensors(&calibrated));
    assert_eq!(of(&after, "bn1.num_batches_tracked").int64_value(&[]), 3);
    assert_eq!(of(&after, "conv1.weight"), of(&before, "conv1.weight"));

    let data = lab.session.data.load(&job.data).unwrap();
    let samples = data.train.everything();
    let of_channel = data.normalization(&samples).unwrap();
    let images = data.train.images.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0;
    let images = (images - of_channel.mean[0]) / of_channel.std[0];
    let out = images.conv2d(of(&after, "conv1.weight"), None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
    let (mut mean, mut variance) =
        (Tensor::zeros([32], (Kind::Float, Device::Cpu)), Tensor::zeros([32], (Kind::Float, Device::Cpu)));
    for batch in out.split(32, 0) {
        mean += batch.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Float) / 3.0;
        variance += batch.var_dim([0i64, 2, 3].as_slice(), true, false) / 3.0;
    }
    assert!((of(&after, "bn1.running_mean") - mean).abs().max().double_value(&[]) < 1e-5);
    assert!((of(&after, "bn1.running_var") - variance).abs().max().double_value(&[]) < 1e-4);

    let notes = artifact::read(&calibrated).unwrap().1;
    assert_eq!(notes["calibrated"], "batch-norm statistics over 96 training samples");
    assert_eq!(notes["kind"], r#"{"average":{"index":0}}"#);
}

/// Goal: models loaded side by side answer what evaluation says of each, whatever the type of the pixels.
#[test]
fn a_predictor_answers_as_evaluation_does() {
    let mut lab = Lab::new(96, 20);
    let job = lab.job(&["train.epochs=1", "data.validation=0.1"]);
    let other = lab.job(&["train.epochs=1", "data.validation=0.3", "model.architecture={mlp: {}}"]);
    let runs = [run(&job, 0), run(&job, 1), Run { index: 2, ..run(&other, 2) }];
    let models: Vec<_> = (0..)
        .zip(&runs)
        .map(|(member, run)| {
            let job = if member == 2 { &other } else { &job };
            (member, lab.trained(job, std::slice::from_ref(run)).models()[&(member, ModelKind::Final)].clone())
        })
        .collect();
    let mut predictor = Predictor::load(&models, Device::Cpu).unwrap();

    let images = lab.session.data.load(&job.data).unwrap().test.as_ref().unwrap().images.shallow_clone();
    let bytes = Vec::<u8>::try_from(images.reshape(-1)).unwrap();
    let floats: Vec<u8> = bytes.iter().flat_map(|&byte| (f32::from(byte) / 255.0).to_le_bytes()).collect();
    let shape = [20, 1, 28, 28];
    for question in [Question::new(&shape, &bytes, Kind::Uint8), Question::new(&shape, &floats, Kind::Float)] {
        let answers = predictor.answer(&question.unwrap()).unwrap();
        assert_eq!(answers.iter().map(|answer| answer.member).collect::<Vec<_>>(), [0, 1, 2]);
        for (answer, run) in answers.iter().zip(&runs) {
            let task =
                lab.model_task(if run.index == 2 { &other } else { &job }, run, models[run.index as usize].1.clone());
            let expected = tensors(&evaluate(&mut lab.session, &task, &mut Silent).unwrap());
            let found = Tensor::from_slice(&answer.logits).view([20, 10]);
            let pair = |tensor: Tensor| vec![("logits".to_owned(), tensor)];
            assert!(distance(&pair(found), &pair(of(&expected, "test.logits").shallow_clone())) < 1e-4);
        }
    }
    let refused = |shape: &[u32], bytes: &[u8]| Question::new(shape, bytes, Kind::Uint8).unwrap_err().to_string();
    let expected =
        "inputs of shape [2, 1, 28, 28] in uint8 do not go with 784 bytes; send [rows, channels, height, width]";
    assert_eq!(refused(&[2, 1, 28, 28], &bytes[..784]), expected);
    assert!(refused(&[u32::MAX; 4], &bytes).starts_with("inputs of shape [4294967295, "));
    let small = Question::new(&[1, 1, 2, 2], &[0; 4], Kind::Uint8).unwrap();
    let message = predictor.answer(&small).unwrap_err().to_string();
    assert_eq!(message, "inputs are images of [1, 2, 2], but the models take [1, 28, 28]");
}

#[test]
fn a_model_of_other_data_is_refused() {
    let mut lab = Lab::new(64, 8);
    let job = lab.job(&["train.epochs=1", "model.architecture={mlp: {hidden: [8]}}"]);
    let model = lab.trained(&job, &[run(&job, 0)]).models()[&(0, ModelKind::Final)].clone();
    let wider = lab.job(&["data.classes=12"]);
    let task = lab.model_task(&wider, &run(&job, 0), model);
    let message = evaluate(&mut lab.session, &task, &mut Silent).unwrap_err().to_string();
    assert!(
        message.contains("it is made for 10 classes and images of 1×28×28, but the data has 12 and 1×28×28"),
        "{message}"
    );
}

#[test]
fn data_is_decoded_once_and_again_when_its_files_change() {
    let mut lab = Lab::new(20, 5);
    let job = lab.job(&[]);
    let first = lab.session.data.load(&job.data).unwrap();
    let again = lab.session.data.load(&job.data).unwrap();
    assert!(std::rc::Rc::ptr_eq(&first, &again));
    let other = Lab::new(21, 5);
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        std::fs::copy(other.data.path().join(name), lab.data.path().join(name)).unwrap();
    }
    let changed = lab.session.data.load(&job.data).unwrap();
    assert_eq!(changed.train.host_labels.len(), 21);
    assert_ne!(changed.digest, first.digest);
}
