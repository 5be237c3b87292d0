//! The points of a grid of recipes.

use super::plan::Configuration;
use super::problem;
use crate::job::{CrossValidation, GridValue, Job, JobFileError, Members, Override, Seeds};

/// Every combination of the grid's values, the last key varying fastest. An empty grid is the job's own recipe.
pub(super) fn configurations(
    job: &Job,
    validation: &CrossValidation,
    prefix: &str,
    path: &str,
) -> Result<Vec<Configuration>, JobFileError> {
    // The recipe alone: nothing else of the job depends on the grid.
    let plain = Job { members: vec![Members::Seeds(Seeds { count: 1 })], average: Vec::new(), ..job.clone() };
    let points = points(validation);
    let resolved = points.iter().enumerate().map(|(index, point)| {
        let job = plain.with(point).map_err(|error| problem(format!("{path}.grid"), error.to_string(), "change it"))?;
        Ok(Configuration { name: format!("{prefix}config-{index}"), model: job.model, train: job.train })
    });
    resolved.collect()
}

fn points(validation: &CrossValidation) -> Vec<Vec<Override>> {
    let mut points = vec![Vec::new()];
    for (key, values) in &validation.grid {
        points = points.iter().flat_map(|point| extended(point, key, values)).collect();
    }
    points
}

fn extended(point: &[Override], key: &str, values: &[GridValue]) -> Vec<Vec<Override>> {
    let with = |value: &GridValue| {
        let mut longer = point.to_vec();
        longer.push(Override::new(key, value.clone()));
        longer
    };
    values.iter().map(with).collect()
}
