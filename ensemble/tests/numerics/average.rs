//! Averages of stored models against exact fractions, and everything that is refused.

use ensemble::average::{
    AverageError, CHUNK_BYTES, Dtype, Header, HeaderError, Lineage, MeanError, Mismatch, Plan, WeightedMean,
    average_streams, check_lineage, ema_decay, read_header,
};
use ensemble::weights::Weights;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use std::io::Cursor;

/// One tensor of a model.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: &'static str,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

pub fn f32s(name: &'static str, values: &[f32]) -> Named {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Named { name, dtype: Dtype::F32, shape: vec![values.len()], bytes }
}

fn i64s(name: &'static str, values: &[i64]) -> Named {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Named { name, dtype: Dtype::I64, shape: vec![values.len()], bytes }
}

/// A model's file, as the reference implementation writes it.
pub fn model(tensors: &[Named]) -> Vec<u8> {
    model_with(tensors, &[])
}

fn model_with(tensors: &[Named], metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap();
        (tensor.name, view)
    });
    let entries = || metadata.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
    safetensors::serialize(views, (!metadata.is_empty()).then(entries)).unwrap()
}

pub fn average(models: &[Vec<u8>], weights: &Weights) -> Result<Vec<u8>, AverageError> {
    let mut out = Vec::new();
    let mut inputs: Vec<_> = models.iter().map(Cursor::new).collect();
    average_streams(&mut inputs, weights, &mut out)?;
    Ok(out)
}

/// As [`average`], in parts that are run last to first.
pub fn average_in_parts(models: &[Vec<u8>], weights: &Weights, parts: usize) -> Vec<u8> {
    let plan = Plan::new(&headers(models)).unwrap();
    let mut out = plan.header_bytes().to_vec();
    out.resize(plan.output_bytes() as usize, 0xaa);
    for part in plan.split(parts).into_iter().rev() {
        let read = |model: usize, at: u64, buffer: &mut [u8]| {
            buffer.copy_from_slice(&models[model][at as usize..][..buffer.len()]);
            Ok(())
        };
        let write = |at: u64, bytes: &[u8]| {
            out[at as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        };
        part.run(weights, read, write).unwrap();
    }
    out
}

fn headers(models: &[Vec<u8>]) -> Vec<Header> {
    models.iter().enumerate().map(|(at, bytes)| read_header(at, &mut Cursor::new(bytes)).unwrap()).collect()
}

fn uniform(models: usize) -> Weights {
    Weights::uniform(models).unwrap()
}

fn values(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let data = tensors.tensor(name).unwrap().data();
    data.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
}

#[derive(Deserialize)]
struct Case {
    dtype: Dtype,
    weights: Vec<f64>,
    inputs: Vec<Vec<u64>>,
    mean: Vec<u64>,
}

fn pack(dtype: Dtype, bits: &[u64]) -> Vec<u8> {
    let width = dtype.bitsize() / 8;
    bits.iter().flat_map(|bits| bits.to_le_bytes().into_iter().take(width)).collect()
}

fn mean_of(dtype: Dtype, inputs: &[Vec<u8>], weights: &[f64]) -> Result<Vec<u8>, MeanError> {
    let mut mean = WeightedMean::default();
    let mut out = vec![0; inputs[0].len()];
    mean.begin(dtype, out.len())?;
    inputs.iter().zip(weights).try_for_each(|(input, weight)| mean.add(input, *weight))?;
    mean.finish(&mut out)?;
    Ok(out)
}

#[test]
fn means_are_exact_fractions_rounded_once_to_even() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/average.json")).unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let inputs: Vec<_> = case.inputs.iter().map(|bits| pack(case.dtype, bits)).collect();
        let found = mean_of(case.dtype, &inputs, &case.weights).unwrap();
        match case.dtype {
            Dtype::F64 => assert_nearly(&found, &pack(case.dtype, &case.mean)),
            _ => assert_eq!(found, pack(case.dtype, &case.mean), "{} {:?}", case.dtype, case.weights),
        }
    }
}

/// Sums of `f64` in `f64` cannot all be exact: within 2 units in the last place of the largest input's scale.
fn assert_nearly(found: &[u8], expected: &[u8]) {
    let decode = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|raw| f64::from_le_bytes(*raw)).collect::<Vec<_>>();
    for (found, expected) in decode(found).into_iter().zip(decode(expected)) {
        assert!(
            (found - expected).abs() <= 2.0 * f64::EPSILON * expected.abs().max(f64::MIN_POSITIVE),
            "{found:e} is not {expected:e}"
        );
    }
}

#[test]
fn half_precision_survives_the_round_trip_and_rounds_as_the_half_crate_does() {
    let all: Vec<u64> = (0..=u16::MAX.into()).collect();
    let finite = |dtype, bits: &u64| match dtype {
        Dtype::F16 => half::f16::from_bits(*bits as u16).is_finite(),
        _ => half::bf16::from_bits(*bits as u16).is_finite(),
    };
    for dtype in [Dtype::F16, Dtype::BF16] {
        let bits: Vec<_> = all.iter().copied().filter(|bits| finite(dtype, bits)).collect();
        let bytes = pack(dtype, &bits);
        assert_eq!(mean_of(dtype, std::slice::from_ref(&bytes), &[1.0]).unwrap(), bytes, "{dtype}");
        // A neighbour weighted 1 to 3, never a tie, rounds to the nearer value.
        let shifted = [&bytes[2..], &bytes[..2]].concat();
        let found = mean_of(dtype, &[bytes.clone(), shifted.clone()], &[3.0, 1.0]).unwrap();
        let decode = |raw: [u8; 2]| match dtype {
            Dtype::F16 => half::f16::from_le_bytes(raw).to_f64(),
            _ => half::bf16::from_le_bytes(raw).to_f64(),
        };
        for ((one, other), found) in bytes.as_chunks().0.iter().zip(shifted.as_chunks().0).zip(found.as_chunks().0) {
            let exact = (3.0 * decode(*one) + decode(*other)) / 4.0;
            let expected = match dtype {
                Dtype::F16 => half::f16::from_f64(exact).to_le_bytes(),
                _ => half::bf16::from_f64(exact).to_le_bytes(),
            };
            assert_eq!(*found, expected, "{dtype} {one:?} {other:?}");
        }
    }
}

#[test]
fn floats_are_averaged_and_integers_copied_from_the_first() {
    let models = [
        model(&[f32s("bn.weight", &[1.0, -2.0]), i64s("bn.num_batches_tracked", &[7])]),
        model(&[f32s("bn.weight", &[2.0, -4.0]), i64s("bn.num_batches_tracked", &[9])]),
    ];
    let out = average(&models, &uniform(2)).unwrap();
    assert_eq!(values(&out, "bn.weight"), [1.5, -3.0]);
    let tensors = SafeTensors::deserialize(&out).unwrap();
    assert_eq!(tensors.tensor("bn.num_batches_tracked").unwrap().data(), 7_i64.to_le_bytes());
}

#[test]
fn a_tensor_of_many_chunks_averages_like_a_short_one() {
    let elements = 3 * CHUNK_BYTES as usize / 4 + 5;
    let ramp = |slope: f32| (0..elements).map(|at| at as f32 * slope).collect::<Vec<_>>();
    let models: Vec<_> = [1.0, 2.0, 6.0].map(|slope| model(&[f32s("odd", &[slope]), f32s("w", &ramp(slope))])).into();
    let out = average(&models, &uniform(3)).unwrap();
    assert_eq!(values(&out, "w"), ramp(3.0));
    for parts in [1, 2, 3, 7, 100] {
        assert!(average_in_parts(&models, &uniform(3), parts) == out, "{parts} parts");
    }
}

#[test]
fn models_that_order_their_tensors_differently_are_paired_by_name() {
    // The format's writer orders by type, then name; a hand-written header need not.
    let json = br#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let mut reversed = (json.len() as u64).to_le_bytes().to_vec();
    reversed.extend(json);
    reversed.extend([10.0_f32, 20.0].into_iter().flat_map(f32::to_le_bytes));
    let models = [reversed, model(&[f32s("a", &[2.0]), f32s("b", &[1.0])])];
    let out = average(&models, &Weights::new(vec![1.0, 3.0]).unwrap()).unwrap();
    assert_eq!((values(&out, "a"), values(&out, "b")), (vec![6.5], vec![3.25]));
    let names: Vec<_> = headers(&[out])[0].tensors().iter().map(|tensor| tensor.name.clone()).collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn the_average_of_one_model_is_its_file_byte_for_byte() {
    let tensors = [f32s("a", &[1.0, -0.0]), i64s("b", &[3]), f32s("weird \"name\"", &[2.0])];
    let file = model_with(&tensors, &[("format", "pt")]);
    assert_eq!(average(std::slice::from_ref(&file), &uniform(1)).unwrap(), file);
}

#[test]
fn free_text_survives_where_all_models_agree() {
    let with = |step| model_with(&[f32s("w", &[0.0])], &[("format", "pt"), ("step", step)]);
    let out = average(&[with("100"), with("200")], &uniform(2)).unwrap();
    let header = &headers(&[out])[0];
    assert_eq!(header.metadata().iter().collect::<Vec<_>>(), [(&"format".to_owned(), &"pt".to_owned())]);
}

#[test]
fn empty_and_scalar_tensors_are_kept() {
    let scalar = |value: f32| Named { shape: vec![], ..f32s("scalar", &[value]) };
    let empty = |name| Named { shape: vec![0, 3], ..f32s(name, &[]) };
    let models = [1.0, 2.0].map(|value| model(&[empty("none"), scalar(value), empty("nothing")]));
    let out = average(&models, &uniform(2)).unwrap();
    assert_eq!(values(&out, "scalar"), [1.5]);
    assert_eq!(SafeTensors::deserialize(&out).unwrap().tensor("none").unwrap().shape(), [0, 3]);
    assert_eq!(average(&[model(&[]), model(&[])], &uniform(2)).unwrap(), model(&[]));
}

#[track_caller]
fn refused(models: &[Vec<u8>]) -> Mismatch {
    Plan::new(&headers(models)).unwrap_err()
}

#[test]
fn models_of_different_architectures_are_refused_by_the_tensor() {
    let base = model(&[f32s("w", &[0.0, 0.0])]);
    let missing = refused(&[base.clone(), model(&[])]);
    assert_eq!(missing, Mismatch::Missing { name: "w".into(), present: 0, absent: 1 });
    let extra = refused(&[base.clone(), model(&[f32s("v", &[1.0]), f32s("w", &[0.0, 0.0])])]);
    assert_eq!(extra, Mismatch::Missing { name: "v".into(), present: 1, absent: 0 });
    let shape = refused(&[base.clone(), model(&[Named { shape: vec![2, 1], ..f32s("w", &[0.0, 0.0]) }])]);
    assert_eq!(shape.to_string(), "tensor `w` has shape [2] in model 0 but [2, 1] in model 1");
    let halves = Named { name: "w", dtype: Dtype::BF16, shape: vec![2], bytes: vec![0; 4] };
    let dtype = refused(&[base, model(&[halves])]);
    assert_eq!(dtype.to_string(), "tensor `w` is F32 in model 0 but BF16 in model 1; convert one of them first");
    let tiny = Named { name: "w", dtype: Dtype::F8_E4M3, shape: vec![2], bytes: vec![0; 2] };
    assert_eq!(refused(&[model(&[tiny])]), Mismatch::Unsupported { name: "w".into(), dtype: Dtype::F8_E4M3 });
    assert_eq!(refused(&[]), Mismatch::Empty);
}

#[test]
fn a_model_that_has_diverged_is_named_by_tensor_and_element() {
    let mut long = vec![0.5_f32; CHUNK_BYTES as usize / 4 + 3];
    let sound = model(&[f32s("w", &long)]);
    *long.last_mut().unwrap() = f32::NAN;
    let element = long.len() - 1;
    let error = average(&[sound, model(&[f32s("w", &long)])], &uniform(2)).unwrap_err();
    assert!(
        matches!(&error, AverageError::Mean { tensor, source: MeanError::NotFinite { element: at } }
        if tensor == "w" && *at == element),
        "{error}"
    );
    let infinite = [f32::INFINITY, f32::NEG_INFINITY].map(|value| model(&[f32s("w", &[value])]));
    assert!(average(&infinite, &uniform(2)).is_err());
}

fn header_error(bytes: &[u8]) -> HeaderError {
    match read_header(0, &mut Cursor::new(bytes)).unwrap_err() {
        AverageError::Header { source, .. } => source,
        other => panic!("not a header error: {other}"),
    }
}

#[test]
fn files_that_lie_about_their_size_are_refused_before_anything_is_allocated() {
    let whole = model(&[f32s("w", &[1.0, 2.0])]);
    assert!(matches!(header_error(&whole[..whole.len() - 1]), HeaderError::FileLength { .. }));
    assert!(matches!(header_error(&[whole.as_slice(), &[0]].concat()), HeaderError::FileLength { .. }));
    assert!(matches!(header_error(&[0xff; 64]), HeaderError::TooLong { bytes: u64::MAX }));
    let announced = 99_000_000_u64.to_le_bytes();
    assert!(matches!(header_error(&announced), HeaderError::FileLength { expected: 99_000_008, found: 8 }));
    assert!(matches!(read_header(0, &mut Cursor::new(b"short")), Err(AverageError::Open { model: 0, .. })));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let entry = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let overlap = format!(r#"{{"a":{},"b":{}}}"#, entry("[1]", 0, 4), entry("[1]", 2, 6));
    let gap = format!(r#"{{"a":{},"b":{}}}"#, entry("[1]", 0, 4), entry("[1]", 8, 12));
    let wrong_shape = format!(r#"{{"a":{}}}"#, entry("[3]", 0, 8));
    let overflow = format!(r#"{{"a":{}}}"#, entry("[4294967296,4294967296,16]", 0, 8));
    let backwards = format!(r#"{{"a":{}}}"#, entry("[1]", 4, 0));
    for json in [&overlap, &gap, &wrong_shape, &overflow, &backwards, "{", "[]", r#"{"a":{"dtype":"F5"}}"#] {
        let file = [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &[0; 12]].concat();
        assert!(matches!(header_error(&file), HeaderError::Invalid(_)), "{json}");
    }
}

#[test]
fn weights_must_be_one_for_each_model() {
    let models = [model(&[f32s("w", &[1.0])]), model(&[f32s("w", &[2.0])])];
    let error = average(&models, &uniform(3)).unwrap_err();
    assert_eq!(error.to_string(), "3 weights for 2 models: give one weight for each");
}

#[test]
fn models_of_other_runs_are_refused_unless_forced() {
    let same = [Lineage(4), Lineage(4), Lineage(4)];
    let mixed = [Lineage(4), Lineage(4), Lineage(7)];
    assert_eq!(check_lineage(&same, false), Ok(()));
    assert_eq!(check_lineage(&mixed, true), Ok(()));
    let refusal = check_lineage(&mixed, false).unwrap_err();
    assert_eq!((refusal.first, refusal.other), (0, 2));
    let text = refusal.to_string();
    assert!(text.starts_with("models 0 and 2 come from runs 4 and 7, which share no trajectory"), "{text}");
    assert!(text.contains("66.8 %") && text.ends_with("or set `force: true`"), "{text}");
}

#[test]
fn an_ema_warms_up_to_its_decay() {
    assert_eq!(ema_decay(0.995, true, 0), 0.1);
    assert_eq!(ema_decay(0.995, true, 8), 0.5);
    assert_eq!(ema_decay(0.995, true, 1789), 1790.0 / 1799.0);
    assert_eq!(ema_decay(0.995, true, 1791), 0.995);
    assert_eq!(ema_decay(0.995, false, 0), 0.995);
}
