//! The points of a grid of recipes.

use super::plan::Configuration;
use crate::job::{CrossValidation, GridValue, Job, JobFileError, Override, Problem};

/// Every combination of the grid's values, the last key varying fastest. An empty grid is the job's own recipe.
pub(super) fn configurations(
    job: &Job,
    validation: &CrossValidation,
    prefix: &str,
    path: &str,
) -> Result<Vec<Configuration>, JobFileError> {
    let plain = job.recipe_alone();
    let points = points(validation);
    let resolved = points.iter().enumerate().map(|(index, point)| {
        let job = plain.with(point).map_err(|error| at_point(error, &format!("{path}.grid"), index))?;
        Ok(Configuration { name: format!("{prefix}config-{index}"), model: job.model, train: job.train })
    });
    resolved.collect()
}

/// The problems of a combination, each of whose values is valid by itself.
fn at_point(error: JobFileError, path: &str, index: usize) -> JobFileError {
    let moved = |problem: Problem| Problem {
        path: path.to_owned(),
        message: format!("in combination {index}, {}: {}", problem.path, problem.message),
        ..problem
    };
    JobFileError { problems: error.problems.into_iter().map(moved).collect() }
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
