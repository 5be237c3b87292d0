//! What the types alone cannot refuse: impossible values, and combinations that cannot work.

use super::problem::Problem;
use super::{
    Architecture, Augmentation, Average, CHECKPOINTS_MAX, CrossValidation, DataSummary, Job, Keep, LearningRate,
    Members, Optimizer, Snapshots, Train, WideResNet, Winners,
};
use std::fmt::Display;

/// A job expands to at most this many runs; more is a slip of the keyboard, not a plan.
const RUNS_MAX: u64 = 10_000;

/// All that is wrong with a job, as far as the job alone tells.
pub(super) fn problems(job: &Job) -> Vec<Problem> {
    let mut check = Check::default();
    name(&mut check, job);
    data(&mut check, job);
    model(&mut check, job);
    train(&mut check, &job.train);
    members(&mut check, job);
    averages(&mut check, job);
    combination(&mut check, job);
    serve(&mut check, job);
    keep(&mut check, job);
    check.problems
}

/// All that is wrong with a job once the size of its data is known.
pub(super) fn problems_with_data(job: &Job, data: &DataSummary) -> Vec<Problem> {
    let mut check = Check::default();
    let training = (data.train as f64 * (1.0 - job.data.validation)) as u64;
    let batch = u64::from(job.train.batch_size);
    check.that(batch <= training, "train.batch_size", batch, format!("there are {training} training samples"));
    if let Some(classes) = job.data.classes {
        let enough = classes as usize >= data.classes;
        check.that(enough, "data.classes", classes, format!("the labels reach class {}", data.classes - 1));
    } else {
        class_names(&mut check, job, data.classes);
    }
    for (index, source) in job.members.iter().enumerate() {
        if let Members::CrossValidation(cross_validation) = source {
            let path = format!("members[{index}].cross_validation.folds");
            let folds = u64::from(cross_validation.folds);
            check.that(folds <= training, &path, folds, format!("there are {training} training samples"));
        }
    }
    let [_, height, width] = data.shape;
    for (index, augmentation) in job.train.augment.iter().enumerate() {
        if let Augmentation::RandomCrop(crop) = augmentation {
            let path = format!("train.augment[{index}].random_crop.padding");
            let fits = (crop.padding as usize) < height.min(width);
            check.that(fits, &path, crop.padding, format!("the images have {height}×{width} pixels"));
        }
    }
    check.problems
}

fn name(check: &mut Check, job: &Job) {
    let remedy = "use 1 to 40 lower-case letters, digits and dashes";
    check.that(is_name(&job.name), "name", &job.name, remedy);
    check.that(is_name(&job.namespace), "namespace", &job.namespace, remedy);
    check.that((1..=99).contains(&job.priority), "priority", job.priority, "use 1 to 99");
    check.that(job.seed < 1 << 32, "seed", job.seed, "it must be below 2^32");
}

/// Whether a job or a namespace may be called so.
pub(crate) fn is_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(valid)
}

fn data(check: &mut Check, job: &Job) {
    check.that(!job.data.path.is_empty(), "data.path", "", "name the folder with the data");
    check.fraction("data.validation", job.data.validation);
    if let Some(classes) = job.data.classes {
        check.that(classes >= 2, "data.classes", classes, "a classifier needs at least 2");
        class_names(check, job, classes as usize);
    }
}

/// Names are given for all classes or for none.
fn class_names(check: &mut Check, job: &Job, classes: usize) {
    let names = job.data.class_names.len();
    let fits = names == 0 || names == classes;
    check.that(fits, "data.class_names", format!("{names} names"), format!("name each of the {classes} classes"));
}

fn model(check: &mut Check, job: &Job) {
    match &job.model.architecture {
        Architecture::Mlp(mlp) => {
            let sane = mlp.hidden.len() <= 64 && mlp.hidden.iter().all(|units| (1..=65_536).contains(units));
            let path = "model.architecture.mlp.hidden";
            check.that(sane, path, format!("{:?}", mlp.hidden), "at most 64 layers of 1 to 65536 units");
        }
        Architecture::WideResNet(WideResNet { depth, widen_factor }) => {
            let path = "model.architecture.wide_resnet";
            let blocks = (10..=250).contains(depth) && (depth - 4) % 6 == 0;
            check.that(blocks, format!("{path}.depth"), depth, "it is 6n + 4: 10, 16, 22, 28, 34, 40, …, at most 250");
            let wide = (1..=64).contains(widen_factor);
            check.that(wide, format!("{path}.widen_factor"), widen_factor, "it must be from 1 to 64");
        }
        _ => {}
    }
}

fn train(check: &mut Check, train: &Train) {
    check.that(train.epochs >= 1, "train.epochs", train.epochs, "at least 1");
    check.that(train.epochs <= 100_000, "train.epochs", train.epochs, "at most 100000");
    check.that((1..=1 << 20).contains(&train.batch_size), "train.batch_size", train.batch_size, "from 1 to 1048576");
    check.that((1..=1024).contains(&train.pack), "train.pack", train.pack, "from 1 to 1024");
    let warmup = train.warmup_epochs;
    let fits = (0.0..f64::from(train.epochs.max(1))).contains(&warmup);
    check.that(fits, "train.warmup_epochs", warmup, "at least 0, and shorter than `train.epochs`");
    optimizer(check, &train.optimizer);
    learning_rate(check, train);
    check.fraction("train.regularize.label_smoothing", train.regularize.label_smoothing);
    check.fraction("train.regularize.dropout", train.regularize.dropout);
    if let Some(stopping) = &train.early_stopping {
        check.that(stopping.patience >= 1, "train.early_stopping.patience", stopping.patience, "at least 1 epoch");
    }
}

fn optimizer(check: &mut Check, optimizer: &Optimizer) {
    match optimizer {
        Optimizer::Sgd(sgd) => {
            check.fraction("train.optimizer.sgd.momentum", sgd.momentum);
            check.not_negative("train.optimizer.sgd.weight_decay", sgd.weight_decay);
            let steady = !sgd.nesterov || sgd.momentum > 0.0;
            check.that(steady, "train.optimizer.sgd.nesterov", sgd.nesterov, "it needs a momentum above 0");
        }
        Optimizer::Adam(adam) => adaptive(check, "adam", adam.betas, adam.epsilon, adam.weight_decay),
        Optimizer::Adamw(adam) => adaptive(check, "adamw", adam.betas, adam.epsilon, adam.weight_decay),
    }
}

fn adaptive(check: &mut Check, name: &str, betas: [f64; 2], epsilon: f64, weight_decay: f64) {
    let path = format!("train.optimizer.{name}");
    for (index, beta) in betas.into_iter().enumerate() {
        check.fraction(format!("{path}.betas[{index}]"), beta);
    }
    check.positive(format!("{path}.epsilon"), epsilon);
    check.not_negative(format!("{path}.weight_decay"), weight_decay);
}

fn learning_rate(check: &mut Check, train: &Train) {
    let path = "train.learning_rate";
    check.positive(format!("{path}.{}.max", kind(&train.learning_rate)), train.learning_rate.max());
    match &train.learning_rate {
        LearningRate::Constant(_) => {}
        LearningRate::Step(step) => {
            check.positive(format!("{path}.step.gamma"), step.gamma);
            let rising = step.milestones.windows(2).all(|pair| pair[0] < pair[1]);
            let within = step.milestones.iter().all(|&epoch| epoch >= 1 && epoch < train.epochs);
            let milestones = format!("{:?}", step.milestones);
            let remedy = format!("rising epochs from 1 to {}", train.epochs.saturating_sub(1));
            check.that(rising && within, format!("{path}.step.milestones"), milestones, remedy);
        }
        LearningRate::Cosine(cosine) => check.below_max(format!("{path}.cosine.min"), cosine.min, cosine.max),
        LearningRate::CosineCycles(cosine) => {
            check.below_max(format!("{path}.cosine_cycles.min"), cosine.min, cosine.max);
            cycles(check, format!("{path}.cosine_cycles.cycles"), cosine.cycles, train.epochs);
        }
        LearningRate::OneCycle(cycle) => {
            let rising = cycle.rise > 0.0 && cycle.rise < 1.0;
            check.that(rising, format!("{path}.one_cycle.rise"), cycle.rise, "above 0 and below 1");
            check.positive(format!("{path}.one_cycle.start_factor"), cycle.start_factor);
            check.positive(format!("{path}.one_cycle.final_factor"), cycle.final_factor);
        }
    }
}

fn kind(schedule: &LearningRate) -> &'static str {
    match schedule {
        LearningRate::Constant(_) => "constant",
        LearningRate::Step(_) => "step",
        LearningRate::Cosine(_) => "cosine",
        LearningRate::CosineCycles(_) => "cosine_cycles",
        LearningRate::OneCycle(_) => "one_cycle",
    }
}

fn cycles(check: &mut Check, path: String, cycles: u32, epochs: u32) {
    let fits = cycles >= 1 && cycles <= epochs;
    check.that(fits, path, cycles, format!("from 1 to the run's {epochs} epochs, so that a cycle lasts at least one"));
}

fn members(check: &mut Check, job: &Job) {
    check.that(!job.members.is_empty(), "members", "[]", "name at least one source, such as `- seeds: {count: 4}`");
    let mut runs = 0;
    for (index, source) in job.members.iter().enumerate() {
        let path = format!("members[{index}]");
        runs += match source {
            Members::Seeds(seeds) => {
                check.that(seeds.count >= 1, format!("{path}.seeds.count"), seeds.count, "at least 1");
                u64::from(seeds.count)
            }
            Members::Snapshots(snapshots) => snapshots_entry(check, &path, snapshots, job),
            Members::CrossValidation(validation) => cross_validation(check, &path, validation, job),
        };
    }
    check.that(runs <= RUNS_MAX, "members", format!("{runs} runs"), format!("a job has at most {RUNS_MAX}"));
}

fn snapshots_entry(check: &mut Check, path: &str, snapshots: &Snapshots, job: &Job) -> u64 {
    let path = format!("{path}.snapshots");
    let epochs = snapshots.epochs.unwrap_or(job.train.epochs);
    check.that(epochs >= 1, format!("{path}.epochs"), epochs, "at least 1");
    cycles(check, format!("{path}.cycles"), snapshots.cycles, epochs);
    if let Some(keep) = snapshots.keep_last {
        let fits = keep >= 1 && keep <= snapshots.cycles;
        check.that(fits, format!("{path}.keep_last"), keep, format!("from 1 to the {} cycles", snapshots.cycles));
    }
    if let Some(rate) = snapshots.learning_rate {
        check.positive(format!("{path}.learning_rate"), rate);
    }
    let steady = job.train.early_stopping.is_none();
    check.that(steady, "train.early_stopping", "set", "a run of snapshots needs all of its cycles; leave it out");
    1
}

fn cross_validation(check: &mut Check, path: &str, validation: &CrossValidation, job: &Job) -> u64 {
    let path = format!("{path}.cross_validation");
    check.that(validation.folds >= 2, format!("{path}.folds"), validation.folds, "at least 2");
    let configurations = validation.grid.values().fold(1, |product: u64, values| product * values.len() as u64);
    check.that(configurations >= 1, format!("{path}.grid"), "an empty list", "give every key at least one value");
    let runs = u64::from(validation.folds).saturating_mul(configurations);
    let candidates = match validation.winners {
        Winners::FoldModels => runs,
        Winners::Configurations => configurations,
    };
    let fits = validation.keep >= 1 && u64::from(validation.keep) <= candidates;
    check.that(fits, format!("{path}.keep"), validation.keep, format!("from 1 to the {candidates} candidates"));
    if runs <= RUNS_MAX {
        grid(check, &path, validation, job);
    }
    runs
}

/// Every value of the grid must give a valid job by itself.
fn grid(check: &mut Check, path: &str, validation: &CrossValidation, job: &Job) {
    let plain = job.recipe_alone();
    for (key, values) in &validation.grid {
        let place = format!("{path}.grid.{key}");
        let allowed = key.starts_with("train.") || key.starts_with("model.");
        check.that(allowed, &place, key, "only keys under `train` and `model` can vary");
        for value in values.iter().filter(|_| allowed) {
            if let Err(error) = plain.with(&[super::Override::new(key, value.clone())]) {
                check.problems.extend(error.problems.into_iter().map(|problem| problem.seen_from_grid(&place, value)));
            }
        }
    }
}

fn averages(check: &mut Check, job: &Job) {
    for (index, average) in job.average.iter().enumerate() {
        let path = format!("average[{index}]");
        match average {
            Average::Ema(ema) => {
                let path = format!("{path}.ema");
                let open = ema.decay > 0.0 && ema.decay < 1.0;
                check.that(open, format!("{path}.decay"), ema.decay, "above 0 and below 1");
                averaged_member(check, &path, ema.member, job);
            }
            Average::Swa(swa) => {
                let path = format!("{path}.swa");
                check.fraction(format!("{path}.start"), swa.start);
                check.positive(format!("{path}.learning_rate"), swa.learning_rate);
                averaged_member(check, &path, swa.member, job);
            }
            Average::Soup(_) => {}
        }
    }
}

/// An average follows the run of a member that `seeds` or `snapshots` gives: a winner is not known beforehand.
fn averaged_member(check: &mut Check, path: &str, member: u32, job: &Job) {
    let known: u32 = job.members.iter().map_while(members_known_beforehand).fold(0, u32::saturating_add);
    let remedy = format!("from 0 to {}: the members that `seeds` and `snapshots` give first", known.saturating_sub(1));
    check.that(member < known, format!("{path}.member"), member, remedy);
}

fn members_known_beforehand(source: &Members) -> Option<u32> {
    match source {
        Members::Seeds(seeds) => Some(seeds.count),
        Members::Snapshots(snapshots) => Some(snapshots.members()),
        Members::CrossValidation(_) => None,
    }
}

fn combination(check: &mut Check, job: &Job) {
    min_members(check, "ensemble.min_members", job.ensemble.min_members, job);
    let Some(weights) = &job.ensemble.weights else { return };
    let members = job.members_total();
    let listed = format!("{weights:?}");
    let path = "ensemble.weights";
    check.that(weights.len() as u64 == members, path, &listed, format!("one weight for each of the {members} members"));
    let sane = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && weights.iter().any(|w| *w > 0.0);
    check.that(sane, path, &listed, "none below 0, and at least one above");
}

fn serve(check: &mut Check, job: &Job) {
    min_members(check, "serve.min_members", job.serve.as_ref().and_then(|serve| serve.min_members), job);
}

fn min_members(check: &mut Check, path: &str, min_members: Option<u32>, job: &Job) {
    let Some(min_members) = min_members else { return };
    let members = job.members_total();
    let fits = min_members >= 1 && u64::from(min_members) <= members;
    check.that(fits, path, min_members, format!("from 1 to the {members} members"));
}

fn keep(check: &mut Check, job: &Job) {
    let Keep { checkpoints, best } = job.keep;
    if let Some(checkpoints) = checkpoints {
        let remedy = format!("from 0 to {CHECKPOINTS_MAX}");
        check.that(checkpoints <= CHECKPOINTS_MAX, "keep.checkpoints", checkpoints, remedy);
    }
    if let Some(best) = best {
        check.that(best >= 1, "keep.best", best, "at least 1");
        let judged = job.data.validation > 0.0;
        check.that(judged, "keep.best", best, "there is no validation part to judge by; set `data.validation` above 0");
    }
}

/// Gathers problems.
#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn that(&mut self, holds: bool, path: impl Into<String>, value: impl Display, remedy: impl Into<String>) {
        if !holds {
            self.problems.push(Problem::new(path, format!("`{value}` cannot be"), remedy));
        }
    }

    fn fraction(&mut self, path: impl Into<String>, value: f64) {
        self.that((0.0..1.0).contains(&value), path, value, "at least 0 and below 1");
    }

    fn positive(&mut self, path: impl Into<String>, value: f64) {
        self.that(value > 0.0 && value.is_finite(), path, value, "above 0");
    }

    fn not_negative(&mut self, path: impl Into<String>, value: f64) {
        self.that(value >= 0.0 && value.is_finite(), path, value, "at least 0");
    }

    fn below_max(&mut self, path: impl Into<String>, min: f64, max: f64) {
        self.that((0.0..=max).contains(&min), path, min, format!("from 0 to the schedule's max of {max}"));
    }
}
