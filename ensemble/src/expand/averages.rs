//! The `average` section: what is kept along a run, branches off one, or is made of members.

use super::plan::{AverageSource, MemberSource, ModelRef, Plan, PlannedAverage};
use super::sources::numbered;
use super::{problem, seed};
use crate::average::{Lineage, check_lineage};
use crate::job::{Average, Constant, Ema, Job, JobFileError, LearningRate, Members, Problem, Soup, SoupOf, Swa, Train};
use crate::run::{Goal, ModelKind, MovingAverage, Run};
use std::collections::BTreeMap;

/// Adds the averages to a plan that has all members.
pub(super) fn add(job: &Job, plan: &mut Plan) -> Result<(), JobFileError> {
    let mut counts = BTreeMap::new();
    for (index, average) in job.average.iter().enumerate() {
        let path = format!("average[{index}]");
        let (kind, index) = (name(average), index as u32);
        let number = counts.entry(kind).and_modify(|count| *count += 1).or_insert(1);
        let name = numbered(kind, *number);
        let source = match average {
            Average::Ema(options) => ema(options, index, &path, plan)?,
            Average::Swa(options) => swa(job, options, index, &name, &path, plan)?,
            Average::Soup(options) => soup(job, options, &path, plan)?,
        };
        plan.averages.push(PlannedAverage { name, source });
    }
    Ok(())
}

fn name(average: &Average) -> &'static str {
    match average {
        Average::Ema(_) => "ema",
        Average::Swa(_) => "swa",
        Average::Soup(_) => "soup",
    }
}

fn ema(options: &Ema, average: u32, path: &str, plan: &mut Plan) -> Result<AverageSource, JobFileError> {
    let run = run_of(plan, options.member, &format!("{path}.ema.member"))?;
    let kept = MovingAverage { average, decay: options.decay, warmup: options.warmup };
    plan.runs[run as usize].averages.push(kept);
    Ok(AverageSource::Run(ModelRef { run, kind: ModelKind::Average { index: average } }))
}

fn swa(
    job: &Job,
    options: &Swa,
    average: u32,
    name: &str,
    path: &str,
    plan: &mut Plan,
) -> Result<AverageSource, JobFileError> {
    let from_run = run_of(plan, options.member, &format!("{path}.swa.member"))?;
    let parent = &mut plan.runs[from_run as usize];
    if parent.train.early_stopping.is_some() {
        let message = format!("`swa` branches off `{}`, which may stop before that point", parent.name);
        return Err(problem("train.early_stopping", message, "leave one of the two out"));
    }
    if !parent.branch_points.contains(&options.start) {
        parent.branch_points.push(options.start);
        parent.branch_points.sort_by(f64::total_cmp);
    }
    let index = plan.runs.len() as u32;
    let run = branch(&plan.runs[from_run as usize], job, options, average, index, name);
    plan.runs.push(run);
    Ok(AverageSource::Run(ModelRef { run: index, kind: ModelKind::Average { index: average } }))
}

/// The run that leaves `parent` at `start` and goes on at its own constant learning rate to the same last epoch.
fn branch(parent: &Run, job: &Job, options: &Swa, average: u32, index: u32, name: &str) -> Run {
    let learning_rate = LearningRate::Constant(Constant { max: options.learning_rate });
    Run {
        index,
        name: name.to_owned(),
        seed: seed(job, index),
        model: parent.model.clone(),
        train: Train { learning_rate, ..parent.train.clone() },
        samples: parent.samples,
        goal: Goal::Swa { average, from_run: parent.index, start: options.start },
        averages: Vec::new(),
        branch_points: Vec::new(),
    }
}

fn soup(job: &Job, options: &Soup, path: &str, plan: &Plan) -> Result<AverageSource, JobFileError> {
    let members = soup_members(job, options.of);
    if members.is_empty() {
        let message = "no member comes from there";
        return Err(problem(format!("{path}.soup.of"), message, "name a source that stands under `members`"));
    }
    let lineages: Vec<_> = members.iter().map(|&member| lineage(plan, member)).collect();
    check_lineage(&lineages, options.force).map_err(|unrelated| Problem {
        path: format!("{path}.soup"),
        message: unrelated.to_string(),
        remedy: None,
    })?;
    Ok(AverageSource::Soup { members })
}

/// The members of the sources that a soup is made of, by index.
fn soup_members(job: &Job, of: SoupOf) -> Vec<u32> {
    let mut members = Vec::new();
    let mut next = 0;
    for source in &job.members {
        let taken = match source {
            Members::Seeds(_) => matches!(of, SoupOf::Seeds | SoupOf::Members),
            Members::Snapshots(_) => matches!(of, SoupOf::Snapshots | SoupOf::Members),
            Members::CrossValidation(_) => of == SoupOf::Members,
        };
        let end = next + source.count();
        members.extend((next..end).filter(|_| taken));
        next = end;
    }
    members
}

/// The trajectory of a member. Winners of a contest come from runs of their own, whichever they will be: past all runs
/// that are known there is a lineage for each.
fn lineage(plan: &Plan, member: u32) -> Lineage {
    match plan.members[member as usize].source {
        MemberSource::Model(model) => Lineage(model.run),
        MemberSource::Winner { .. } => Lineage(plan.runs.len() as u32 + member),
    }
}

fn run_of(plan: &Plan, member: u32, path: &str) -> Result<u32, JobFileError> {
    match plan.members.get(member as usize).map(|member| member.source) {
        Some(MemberSource::Model(model)) => Ok(model.run),
        Some(MemberSource::Winner { .. }) => {
            let message = format!("member {member} is a winner of a cross-validation, known only when that is over");
            Err(problem(path, message, "name a member that `seeds` or `snapshots` gives"))
        }
        None => Err(problem(path, format!("there is no member {member}"), "members are counted from 0")),
    }
}
