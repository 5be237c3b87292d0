//! What must hold for every input, whatever it is.

use crate::average::{average, average_in_parts, f32s, model};
use ensemble::average::{Dtype, WeightedMean, ema_decay};
use ensemble::combine::{Temperature, combine, select};
use ensemble::job::{Combine, Train};
use ensemble::metrics::{Evaluation, disagreement, entropy, mutual_information};
use ensemble::predictions::{Labels, Logits};
use ensemble::schedule::Schedule;
use ensemble::weights::Weights;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

/// Logits and labels of one to four members.
#[derive(Debug, Clone)]
struct Answers {
    members: Vec<Logits>,
    labels: Labels,
}

fn answers() -> impl Strategy<Value = Answers> {
    (1..5_usize, 1..20_usize, 1..6_usize).prop_flat_map(|(members, samples, classes)| {
        // Coarse values, so that ties are common, and some extreme ones.
        let logit = prop_oneof![8 => (-8..8_i8).prop_map(f32::from), 1 => Just(1e30_f32), 1 => Just(-1e30_f32)];
        let logits = vec(vec(logit, samples * classes), members);
        (logits, vec(0..classes as u32, samples)).prop_map(move |(logits, labels)| Answers {
            members: logits.into_iter().map(|logits| Logits::new(logits, classes).unwrap()).collect(),
            labels: Labels::new(labels, classes).unwrap(),
        })
    })
}

fn rules() -> impl Strategy<Value = Combine> {
    prop_oneof![Just(Combine::MeanProbability), Just(Combine::MeanLogit), Just(Combine::MajorityVote)]
}

/// A recipe with any schedule, and how many steps an epoch has.
fn recipes() -> impl Strategy<Value = (Train, u64)> {
    let rate = prop_oneof![
        Just(json!({"constant": {"max": 0.1}})),
        vec(0..30_u32, 0..3).prop_map(|milestones| json!({"step": {"max": 0.1, "milestones": milestones}})),
        Just(json!({"cosine": {"max": 0.1, "min": 0.001}})),
        (1..6_u32).prop_map(|cycles| json!({"cosine_cycles": {"max": 0.1, "min": 0.001, "cycles": cycles}})),
        (0.05..0.95).prop_map(|rise| json!({"one_cycle": {"max": 0.1, "rise": rise, "final_factor": 4.0}})),
    ];
    (rate, 1..30_u32, 1..50_u64, 0.0..2.0).prop_map(|(rate, epochs, steps_per_epoch, warmup)| {
        let train = json!({"epochs": epochs, "learning_rate": rate, "warmup_epochs": warmup});
        (serde_json::from_value(train).unwrap(), steps_per_epoch)
    })
}

proptest! {
    #[test]
    fn combined_rows_are_distributions(answers in answers(), rule in rules(), seed in vec(0.01..10.0, 4)) {
        let members: Vec<_> = answers.members.iter().collect();
        let weights = Weights::new(seed[..members.len()].to_vec()).unwrap();
        prop_assert!((weights.shares().iter().sum::<f64>() - 1.0).abs() < 1e-14);
        let combined = combine(rule, &members, &weights).unwrap();
        for row in combined.rows() {
            prop_assert!(row.iter().all(|p| (0.0..=1.0 + 1e-12).contains(p)), "{row:?}");
            prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{row:?}");
        }
    }

    #[test]
    fn one_member_alone_is_the_ensemble(answers in answers()) {
        let alone = &answers.members[0];
        for rule in [Combine::MeanProbability, Combine::MeanLogit] {
            let combined = combine(rule, &[alone], &Weights::uniform(1).unwrap()).unwrap();
            prop_assert_eq!(combined, alone.softmax());
        }
    }

    #[test]
    fn scores_stay_within_their_bounds(answers in answers(), rule in rules()) {
        let members: Vec<_> = answers.members.iter().collect();
        let combined = combine(rule, &members, &Weights::uniform(members.len()).unwrap()).unwrap();
        let scores = Evaluation::new(&combined, &answers.labels).unwrap().scores();
        prop_assert!((0.0..=1.0).contains(&scores.accuracy));
        prop_assert!((0.0..=36.1).contains(&scores.nll));
        prop_assert!((0.0..=2.0 + 1e-12).contains(&scores.brier));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&scores.ece));
    }

    #[test]
    fn uncertainty_stays_within_its_bounds(answers in answers()) {
        let members: Vec<_> = answers.members.iter().map(Logits::softmax).collect();
        let members: Vec<_> = members.iter().collect();
        let (_, classes) = answers.labels.shape();
        prop_assert!((0.0..=1.0).contains(&disagreement(&members).unwrap()));
        let rows = members.iter().flat_map(|member| member.rows());
        prop_assert!(rows.map(entropy).all(|nats| (0.0..=(classes as f64).ln() + 1e-12).contains(&nats)));
        let most = (members.len() as f64).ln() + 1e-12;
        prop_assert!(mutual_information(&members).unwrap().iter().all(|nats| (0.0..=most).contains(nats)));
    }

    #[test]
    fn a_fitted_temperature_is_no_worse_than_none(answers in answers()) {
        let probabilities = answers.members[0].softmax();
        let temperature = Temperature::fit_probabilities(&probabilities, &answers.labels).unwrap();
        let nll = |t: Temperature| Evaluation::new(&t.apply(&probabilities), &answers.labels).unwrap().nll();
        prop_assert!(nll(temperature) <= nll(Temperature::ONE) + 1e-9);
    }

    #[test]
    fn greedy_selection_is_no_worse_than_the_best_candidate(answers in answers()) {
        let of = |member: &Logits| member.true_class(&answers.labels).unwrap();
        let candidates: Vec<_> = answers.members.iter().map(of).collect();
        let selection = select(&candidates, 10).unwrap();
        let best = answers.members.iter().map(|member| {
            Evaluation::new(&member.softmax(), &answers.labels).unwrap().nll()
        });
        prop_assert!(selection.loss() <= best.fold(f64::INFINITY, f64::min) + 1e-8);
        prop_assert_eq!(selection.counts.iter().sum::<u32>() as usize, selection.chosen.len());
    }

    #[test]
    fn the_average_of_copies_is_the_copy(bits in vec(any::<u64>(), 1..40), copies in 1..9_usize, weight in 0.1..3.0) {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let mut mean = WeightedMean::default();
            mean.begin(dtype, bytes.len()).unwrap();
            (0..copies).for_each(|copy| mean.add(&bytes, weight + copy as f64).unwrap());
            let mut out = vec![0; bytes.len()];
            // Random bits are now and then infinite or NaN, which is refused and nothing else.
            if mean.finish(&mut out).is_ok() {
                prop_assert!(out == bytes, "{dtype}");
            }
        }
    }

    #[test]
    fn an_average_lies_between_its_models_and_does_not_depend_on_its_parts(
        rows in (1..5_usize, 1..200_usize).prop_flat_map(|(models, len)| vec(vec(-1e3_f32..1e3, len), models)),
        parts in 1..5_usize,
    ) {
        let models: Vec<_> = rows.iter().map(|row| model(&[f32s("a", &row[..1]), f32s("b", row)])).collect();
        let weights = Weights::new((1..=rows.len()).map(|rank| rank as f64).collect()).unwrap();
        let out = average(&models, &weights).unwrap();
        prop_assert_eq!(&out, &average(&models, &weights).unwrap());
        prop_assert_eq!(&out, &average_in_parts(&models, &weights, parts));
        let (tail, _) = out[out.len() - rows[0].len() * 4..].as_chunks::<4>();
        for (at, raw) in tail.iter().enumerate() {
            let column: Vec<f32> = rows.iter().map(|row| row[at]).collect();
            let (low, high) = column.iter().fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
            prop_assert!((low..=high).contains(&f32::from_le_bytes(*raw)));
        }
    }

    #[test]
    fn learning_rates_stay_positive_and_below_the_peak((train, steps_per_epoch) in recipes()) {
        let schedule = Schedule::new(&train, steps_per_epoch);
        let rates: Vec<_> = (0..schedule.steps()).map(|step| schedule.at(step)).collect();
        prop_assert!(rates.iter().all(|rate| *rate > 0.0 && *rate <= 0.1 + 1e-15), "{rates:?}");
        prop_assert_eq!(schedule.at(schedule.steps() + 7), *rates.last().unwrap());
    }

    #[test]
    fn a_cosine_is_smooth_and_falls(epochs in 1..20_u32, steps_per_epoch in 1..50_u64) {
        let train = json!({"epochs": epochs, "learning_rate": {"cosine": {"max": 0.1, "min": 0.01}}});
        let schedule = Schedule::new(&serde_json::from_value(train).unwrap(), steps_per_epoch);
        // The slope of half a cosine is at most pi / 2 of its mean slope.
        let steepest = 0.09 / schedule.steps() as f64 * std::f64::consts::FRAC_PI_2 + 1e-15;
        for step in 1..schedule.steps() {
            let fall = schedule.at(step - 1) - schedule.at(step);
            prop_assert!((0.0..=steepest).contains(&fall), "step {step}: {fall}");
        }
    }

    #[test]
    fn every_cycle_end_is_found_and_followed_by_a_restart(cycles in 1..8_u32, epochs in 1..20_u32, steps in 8..40_u64) {
        let rate = json!({"cosine_cycles": {"max": 0.1, "min": 0.0, "cycles": cycles}});
        let train = json!({"epochs": epochs, "learning_rate": rate});
        let schedule = Schedule::new(&serde_json::from_value(train).unwrap(), steps);
        let found: Vec<_> = (0..=schedule.steps()).filter(|done| schedule.cycle_ended(*done).is_some()).collect();
        prop_assert_eq!(&found, &schedule.cycle_ends().collect::<Vec<_>>());
        prop_assert_eq!(found.len(), cycles as usize);
        for end in &found[..found.len() - 1] {
            prop_assert_eq!(schedule.at(*end), 0.1);
        }
    }

    #[test]
    fn an_ema_never_keeps_more_than_its_decay(decay in 0.0..1.0, updates in any::<u64>()) {
        let kept = ema_decay(decay, true, updates);
        prop_assert!((0.0..=decay).contains(&kept));
        prop_assert!(kept <= ema_decay(decay, true, updates.saturating_add(1)));
    }
}
