//! The least that still fails: delta debugging (Zeller and Hildebrandt 2002) on a plan's actions.

use super::campaign::{Broken, history};
use super::plan::Plan;

/// A failing history is told again at most so often.
const TRIES_MAX: usize = 400;

/// Leaves out of a plan what the failure does not need. Gives the plan and how many histories that took.
pub fn shrink(mut plan: Plan, broken: &Broken) -> (Plan, usize) {
    let mut tries = 0;
    let mut parts = 2;
    while plan.actions.len() > 1 && tries < TRIES_MAX {
        let size = plan.actions.len().div_ceil(parts);
        let smaller = (0..plan.actions.len()).step_by(size).find_map(|from| {
            tries += 1;
            Some(without(&plan, from, size)).filter(|plan| fails_alike(plan, broken))
        });
        match smaller {
            Some(smaller) => {
                plan = smaller;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(plan.actions.len()),
        }
    }
    (plan, tries)
}

fn without(plan: &Plan, from: usize, size: usize) -> Plan {
    let mut smaller = plan.clone();
    smaller.actions.drain(from..(from + size).min(smaller.actions.len()));
    smaller
}

fn fails_alike(plan: &Plan, broken: &Broken) -> bool {
    history(plan).is_err_and(|other| other.name() == broken.name())
}
