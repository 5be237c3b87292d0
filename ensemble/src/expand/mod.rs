//! From a job to its runs: what must be trained, which models that yields, and which of them become members.
//!
//! [`expand`] is a pure function of the job, so the same job has the same runs with the same seeds everywhere. What only
//! scores can decide (who wins a cross-validation) is left open in the [`Plan`], with its place reserved: the runs and
//! seeds of winners do not depend on the order in which scores arrive.

mod averages;
mod grid;
mod packs;
mod plan;
mod sources;

pub(crate) use packs::packs;
pub use plan::{AverageSource, Configuration, Contest, MemberSource, ModelRef, Plan, PlannedAverage, PlannedMember};

use crate::job::{Job, JobFileError, Problem, Select, Temperature};
use crate::run::{Goal, ModelKind, Run};

/// A job has at most this many members: an ensemble of more answers no better, and its predictions no longer fit a
/// coordinator's memory.
pub const MEMBERS_MAX: usize = 10_000;

/// A job has at most this many runs: all that a job file may ask for, and as many again for winners that are trained
/// anew and runs that branch off. The index of a run stands in the low 16 bits of its seed.
pub const RUNS_MAX: u32 = 20_000;

/// A job has at most this many averages. Each soup remembers its members, and each member its soups.
pub const AVERAGES_MAX: usize = 64;

/// Expands a job that has been read and checked by [`Job::parse`] or [`Job::from_json`].
///
/// # Errors
/// What the job's sections cannot mean together: too many members or runs, a point of a grid that is no valid recipe, a
/// weight average over models that share no trajectory, SWA along a run that may stop early, weights beside a selection.
pub fn expand(job: &Job) -> Result<Plan, JobFileError> {
    if job.average.len() > AVERAGES_MAX {
        let message = format!("the job has {} averages", job.average.len());
        return Err(problem("average", message, format!("at most {AVERAGES_MAX}")));
    }
    let mut plan = sources::plan(job)?;
    averages::add(job, &mut plan)?;
    sources::reserve_refits(&mut plan);
    check_runs(&plan)?;
    check_combination(job)?;
    plan.packs = packs(&plan.runs);
    Ok(plan)
}

/// The models that a run yields, in order.
pub fn yields(run: &Run) -> Vec<ModelKind> {
    let averages = run.averages.iter().map(|average| ModelKind::Average { index: average.average });
    match run.goal {
        Goal::Final => [ModelKind::Final].into_iter().chain(averages).collect(),
        Goal::Snapshots { keep_last } => snapshot_cycles(run, keep_last).chain(averages).collect(),
        Goal::Swa { average, .. } => vec![ModelKind::Average { index: average }],
    }
}

fn snapshot_cycles(run: &Run, keep_last: u32) -> impl Iterator<Item = ModelKind> {
    let cycles = sources::cycles(&run.train.learning_rate);
    (cycles.saturating_sub(keep_last)..cycles).map(|cycle| ModelKind::Snapshot { cycle })
}

/// The seed of a run: the job's in the high bits, the run's index in the low 16, so that no two runs of a job and no two
/// jobs with different seeds share a random stream.
pub(crate) fn seed(job: &Job, index: u32) -> u64 {
    (job.seed << 16) | u64::from(index)
}

/// With the runs that winners and branches need, which the sources alone do not tell.
fn check_runs(plan: &Plan) -> Result<(), JobFileError> {
    if plan.runs_reserved > RUNS_MAX {
        let message = format!("the job has {} runs", plan.runs_reserved);
        return Err(problem("members", message, format!("at most {RUNS_MAX}")));
    }
    Ok(())
}

fn check_combination(job: &Job) -> Result<(), JobFileError> {
    if job.ensemble.select == Select::Greedy && job.ensemble.weights.is_some() {
        let message = "given weights leave nothing to `select: greedy`";
        return Err(problem("ensemble.weights", message, "leave one of the two out"));
    }
    if job.ensemble.select == Select::Greedy && job.data.validation == 0.0 {
        let message = "there is no validation part to choose members on";
        return Err(problem("ensemble.select", message, "set `data.validation` above 0, or select `all`"));
    }
    if job.ensemble.temperature == Temperature::Fitted && job.data.validation == 0.0 {
        let message = "there is no validation part to fit a temperature on";
        return Err(problem("ensemble.temperature", message, "set `data.validation` above 0, or use `one`"));
    }
    Ok(())
}

fn problem(path: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> JobFileError {
    Problem { path: path.into(), message: message.into(), remedy: Some(remedy.into()) }.into()
}
