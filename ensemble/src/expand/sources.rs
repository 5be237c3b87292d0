//! The `members` section, source by source.

use super::plan::{Configuration, Contest, MemberSource, ModelRef, Plan, PlannedMember};
use super::{MEMBERS_MAX, RUNS_MAX};
use super::{grid, problem, seed};
use crate::job::{
    CosineCycles, CrossValidation, Job, JobFileError, LearningRate, Members, Model, Seeds, Snapshots, Train, Winners,
};
use crate::run::{Goal, ModelKind, Run, Samples};

/// Plans the runs and members of all sources.
pub(super) fn plan(job: &Job) -> Result<Plan, JobFileError> {
    let mut builder = Builder { job, plan: Plan::empty(), seeds: 0, snapshots: 0, validations: 0 };
    for (index, source) in job.members.iter().enumerate() {
        builder.check_room(source)?;
        match source {
            Members::Seeds(seeds) => builder.seeds(seeds),
            Members::Snapshots(snapshots) => builder.snapshots(snapshots),
            Members::CrossValidation(validation) => builder.cross_validation(validation, index)?,
        }
    }
    Ok(builder.plan)
}

/// Gives the runs that winners may need their indexes, after those of all runs that are known.
pub(super) fn reserve_refits(plan: &mut Plan) {
    let mut next = plan.runs.len() as u32;
    for contest in &mut plan.contests {
        contest.first_refit = next;
        if contest.winners == Winners::Configurations {
            next += contest.keep;
        }
    }
    plan.runs_reserved = next;
}

/// How many cycles a schedule has.
pub(super) fn cycles(rate: &LearningRate) -> u32 {
    match rate {
        LearningRate::CosineCycles(cosine) => cosine.cycles,
        _ => 1,
    }
}

struct Builder<'a> {
    job: &'a Job,
    plan: Plan,
    /// How many runs `seeds` has given so far, over all its entries.
    seeds: u32,
    /// How many entries were `snapshots`.
    snapshots: u32,
    /// How many entries were `cross_validation`.
    validations: u32,
}

impl Builder<'_> {
    /// Nothing is built that would be refused for its size anyway.
    fn check_room(&self, source: &Members) -> Result<(), JobFileError> {
        let members = self.plan.members.len() as u64 + u64::from(source.count());
        if members > MEMBERS_MAX as u64 {
            return Err(problem("members", format!("{members} members"), format!("a job has at most {MEMBERS_MAX}")));
        }
        let runs = self.plan.runs.len() as u64 + runs(source);
        if runs > u64::from(RUNS_MAX) {
            return Err(problem("members", format!("{runs} runs"), format!("a job has at most {RUNS_MAX}")));
        }
        Ok(())
    }

    fn seeds(&mut self, seeds: &Seeds) {
        for _ in 0..seeds.count {
            let name = format!("seed-{}", self.seeds);
            self.seeds += 1;
            let run = self.run(&name, &self.job.model, self.job.train.clone(), Samples::Training, Goal::Final);
            self.member(name, ModelRef { run, kind: ModelKind::Final });
        }
    }

    fn snapshots(&mut self, snapshots: &Snapshots) {
        self.snapshots += 1;
        let name = numbered("snapshots", self.snapshots);
        let prefix = if self.snapshots == 1 { String::new() } else { format!("{name}-") };
        let keep_last = snapshots.members();
        let train = cyclic(&self.job.train, snapshots);
        let run = self.run(&name, &self.job.model, train, Samples::Training, Goal::Snapshots { keep_last });
        for cycle in snapshots.cycles.saturating_sub(keep_last)..snapshots.cycles {
            self.member(format!("{prefix}snapshot-{cycle}"), ModelRef { run, kind: ModelKind::Snapshot { cycle } });
        }
    }

    fn cross_validation(&mut self, validation: &CrossValidation, index: usize) -> Result<(), JobFileError> {
        self.validations += 1;
        let name = numbered("cross-validation", self.validations);
        let prefix = if self.validations == 1 { String::new() } else { format!("{name}-") };
        let path = format!("members[{index}].cross_validation");
        let configurations = grid::configurations(self.job, validation, &prefix, &path)?;
        let first_run = self.plan.runs.len() as u32;
        for fold in 0..validation.folds {
            for (number, Configuration { model, train, .. }) in configurations.iter().enumerate() {
                let suffix = if configurations.len() == 1 { String::new() } else { format!("-config-{number}") };
                let samples = Samples::AllButFold { fold, folds: validation.folds };
                self.run(&format!("{prefix}fold-{fold}{suffix}"), model, train.clone(), samples, Goal::Final);
            }
        }
        self.contest(validation, configurations, first_run, &prefix);
        Ok(())
    }

    fn contest(
        &mut self,
        validation: &CrossValidation,
        configurations: Vec<Configuration>,
        first_run: u32,
        prefix: &str,
    ) {
        let contest = self.plan.contests.len() as u32;
        for rank in 0..validation.keep {
            let source = MemberSource::Winner { contest, rank };
            self.plan.members.push(PlannedMember { name: format!("{prefix}winner-{rank}"), source });
        }
        let CrossValidation { folds, keep, winners, metric, .. } = *validation;
        let contest = Contest { configurations, folds, first_run, first_refit: 0, keep, winners, metric };
        self.plan.contests.push(contest);
    }

    fn run(&mut self, name: &str, model: &Model, train: Train, samples: Samples, goal: Goal) -> u32 {
        let index = self.plan.runs.len() as u32;
        self.plan.runs.push(Run {
            index,
            name: name.to_owned(),
            seed: seed(self.job, index),
            model: model.clone(),
            train,
            samples,
            goal,
            averages: Vec::new(),
            branch_points: Vec::new(),
        });
        index
    }

    fn member(&mut self, name: String, model: ModelRef) {
        self.plan.members.push(PlannedMember { name, source: MemberSource::Model(model) });
    }
}

/// How many runs a source has, those for winners included.
fn runs(source: &Members) -> u64 {
    match source {
        Members::Seeds(seeds) => seeds.count.into(),
        Members::Snapshots(_) => 1,
        Members::CrossValidation(validation) => {
            let points =
                validation.grid.values().fold(1_u64, |points, values| points.saturating_mul(values.len() as u64));
            points.saturating_mul(validation.folds.into()).saturating_add(validation.keep.into())
        }
    }
}

/// The job's recipe with a learning rate that goes up and down.
fn cyclic(train: &Train, snapshots: &Snapshots) -> Train {
    let min = match &train.learning_rate {
        LearningRate::Cosine(cosine) => cosine.min,
        LearningRate::CosineCycles(cosine) => cosine.min,
        _ => 0.0,
    };
    let max = snapshots.learning_rate.unwrap_or(train.learning_rate.max());
    let learning_rate = LearningRate::CosineCycles(CosineCycles { max, min: min.min(max), cycles: snapshots.cycles });
    Train { epochs: snapshots.epochs.unwrap_or(train.epochs), learning_rate, ..train.clone() }
}

/// `name`, `name-2`, `name-3`, and so on.
pub(super) fn numbered(name: &str, number: u32) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}-{number}") }
}

impl Plan {
    fn empty() -> Self {
        Self {
            runs: Vec::new(),
            runs_reserved: 0,
            packs: Vec::new(),
            members: Vec::new(),
            averages: Vec::new(),
            contests: Vec::new(),
        }
    }
}
