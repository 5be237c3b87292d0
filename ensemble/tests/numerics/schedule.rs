//! Schedules against PyTorch's schedulers, and where cycles end.

use crate::assert_close;
use ensemble::job::Train;
use ensemble::schedule::Schedule;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Table {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    train: Train,
    steps_per_epoch: u64,
    rates: Vec<f64>,
}

#[test]
fn every_step_has_the_rate_that_pytorch_uses() {
    let table: Table = serde_json::from_str(include_str!("golden/schedules.json")).unwrap();
    assert_eq!(table.cases.len(), 9);
    for case in table.cases {
        let schedule = Schedule::new(&case.train, case.steps_per_epoch);
        assert_eq!(schedule.steps(), case.rates.len() as u64, "{}", case.name);
        for (step, expected) in (0..).zip(&case.rates) {
            assert_close(schedule.at(step), *expected, 1e-14, &format!("{}, step {step}", case.name));
        }
    }
}

fn cycles(cycles: u32, epochs: u32, warmup_epochs: f64) -> Schedule {
    let rate = json!({"cosine_cycles": {"max": 0.1, "min": 0.0, "cycles": cycles}});
    let train = json!({"epochs": epochs, "learning_rate": rate, "warmup_epochs": warmup_epochs});
    Schedule::new(&serde_json::from_value(train).unwrap(), 10)
}

#[test]
fn cycles_end_at_equal_distances_and_the_last_with_the_run() {
    assert_eq!(cycles(5, 20, 0.0).cycle_ends().collect::<Vec<_>>(), [40, 80, 120, 160, 200]);
    assert_eq!(cycles(3, 10, 0.0).cycle_ends().collect::<Vec<_>>(), [33, 66, 100]);
    assert_eq!(cycles(2, 5, 1.0).cycle_ends().collect::<Vec<_>>(), [30, 50]);
}

#[test]
fn a_cycle_has_ended_after_its_last_step_only() {
    let schedule = cycles(3, 10, 0.5);
    let ended: Vec<_> = (0..=101).filter_map(|done| Some((done, schedule.cycle_ended(done)?))).collect();
    assert_eq!(ended, [(36, 0), (68, 1), (100, 2)]);
}

#[test]
fn a_schedule_without_restarts_is_one_cycle() {
    let train: Train = serde_json::from_value(json!({"epochs": 2})).unwrap();
    let schedule = Schedule::new(&train, 7);
    assert_eq!(schedule.cycle_ends().collect::<Vec<_>>(), [14]);
    assert_eq!(schedule.cycle_ended(14), Some(0));
}

#[test]
fn a_restart_goes_back_to_the_top_in_one_step() {
    let schedule = cycles(3, 10, 0.0);
    assert!(schedule.at(32) < 0.001);
    assert_eq!(schedule.at(33), 0.1);
}
