//! A small language for histories: one event a line, and the trace of what follows from it.
//!
//! ```text
//!   submit [KEY] [priority=N] [namespace=NAME]             cancel
//!   join WORKER SLOTS [SLOT=TASK@N]                        leave|stop|silent WORKER
//!   resume [ended]                                         beat WORKER
//!   ready WORKER SLOT                                      fail TASK@N CLASS
//!   checkpoint TASK@N RUN STEP [branch=B]                  yielded TASK@N
//!   model TASK@N RUN KIND [bn]                             trained TASK@N
//!   calibrated TASK@N [as=NAME]                            evaluated TASK@N [SCORE] [as=NAME]
//!   averaged N [bn|refused]                                reported [refused]
//!   drain|reinstate WORKER                                 share NAMESPACE WEIGHT
//!   damaged ARTIFACT                                       pin|unpin ARTIFACT
//!   tick TIME, at TIME                                     show WHAT
//! ```
//! Tasks of the first job are named without it: `train/0@1` is attempt 1 of `demo-1/train/0`. `join w1 2 0=train/0@1` joins
//! with two slots, the first of which holds that lease. The clock stands still but for `tick`, and for
//! `at`, when nobody looks at what is due.
//! Artifacts have readable names here, such as `c0.100` for run 0's checkpoint at step 100, and digests made of them.

use ensemble::cluster::{
    AverageOutcome, Cluster, Command, Effect, Evaluated, EvaluationScores, Failure, FailureClass, LeaseKey,
    LeaveReason, Millis, ReportOutcome, Settings, Slot, Work,
};
use ensemble::id::{Digest, JobId, TaskId, WorkerId};
use ensemble::job::Job;
use ensemble::metrics::Scores;
use ensemble::report::{Report, ReportRow};
use ensemble::run::{Artifact, ModelKind};
use expect_test::Expect;
use std::fmt::Write;

/// Runs a script on a job whose file has these sections beside the usual ones, and compares the trace.
pub fn check(sections: &str, script: &str, trace: Expect) {
    trace.assert_eq(&Player::new(sections).play(script));
}

/// A job file: the usual sections, and these.
pub fn job(sections: &str) -> Result<Job, ensemble::job::JobFileError> {
    let train = if sections.contains("train:") { "" } else { "train: {epochs: 4}\n" };
    let usual = "name: demo\ndata: {format: idx, path: /data}\nmodel: {architecture: cnn}\n";
    Job::parse(&format!("{usual}{train}{sections}"), &[])
}

struct Player {
    cluster: Cluster,
    job: Job,
    now: Millis,
    trace: String,
}

impl Player {
    fn new(sections: &str) -> Self {
        Self { cluster: Cluster::new(Settings::default()), job: job(sections).unwrap(), now: 0, trace: String::new() }
    }

    fn play(mut self, script: &str) -> String {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(self.trace, "{line}").unwrap();
            self.step(line);
            assert!(restored(&self.cluster) == self.cluster, "a snapshot leaves something out after `{line}`");
        }
        self.trace
    }

    fn step(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[0] {
            "tick" => {
                self.now = words[1].parse().unwrap();
                let effects = self.cluster.tick(self.now);
                self.effects(&effects);
            }
            "at" => self.now = words[1].parse().unwrap(),
            "show" => self.show(words[1]),
            _ => match self.cluster.apply(self.now, command(&words, &self.job)) {
                Ok(effects) => self.effects(&effects),
                Err(rejection) => writeln!(self.trace, "    refused: {rejection}").unwrap(),
            },
        }
    }

    fn effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            writeln!(self.trace, "    {}", told(effect)).unwrap();
            self.invariant_what_is_handed_out_is_kept(effect);
        }
    }

    fn invariant_what_is_handed_out_is_kept(&self, effect: &Effect) {
        let kept = self.cluster.references();
        let given = handed_out(effect);
        given.iter().for_each(|artifact| assert!(kept.contains(&artifact.digest), "{}", told(effect)));
    }

    /// What must stay in the store, by name.
    fn references(&self) -> String {
        let names: Vec<_> = self.cluster.references().iter().map(|digest| named(digest.as_str())).collect();
        names.join(" ")
    }

    fn show(&mut self, what: &str) {
        let job = JobId::new("demo-1");
        let lines = match what {
            "job" => json(&[self.cluster.job(&job).unwrap()]),
            "members" => json(&self.cluster.members(&job).unwrap()),
            "averages" => json(&self.cluster.averages(&job).unwrap()),
            "runs" => json(&self.cluster.runs(&job).unwrap()),
            "tasks" => json(&self.cluster.tasks(&job).unwrap()),
            "checkpoints" => json(&self.cluster.checkpoints(&job).unwrap()),
            "workers" => json(&self.cluster.workers()),
            "shares" => json(&self.cluster.shares()),
            "references" => vec![self.references()],
            "report" => json(&self.cluster.report(&job).unwrap().into_iter().collect::<Vec<_>>()),
            "due" => vec![format!("{:?}", self.cluster.next_due())],
            other => panic!("nothing to show for `{other}`"),
        };
        lines.iter().for_each(|line| writeln!(self.trace, "    {line}").unwrap());
    }
}

/// The cluster as its snapshot gives it back.
pub fn restored(cluster: &Cluster) -> Cluster {
    let snapshot = serde_json::to_string(&cluster.snapshot()).unwrap();
    Cluster::restore(cluster.settings(), &mut serde_json::Deserializer::from_str(&snapshot)).unwrap()
}

fn json<T: serde::Serialize>(views: &[T]) -> Vec<String> {
    views.iter().map(|view| readable(&serde_json::to_string(view).unwrap())).collect()
}

pub fn command(words: &[&str], job: &Job) -> Command {
    let worker = || WorkerId::new(words[1]);
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let has = |name: &str| words.contains(&name);
    match words[0] {
        "submit" => {
            let mut job = job.clone();
            job.priority = option("priority=").map_or(job.priority, |priority| priority.parse().unwrap());
            job.namespace = option("namespace=").map_or(job.namespace, str::to_owned);
            Command::Submit { key: (*words.get(1).unwrap_or(&"key")).into(), job: Box::new(job) }
        }
        "cancel" => Command::Cancel { job: JobId::new("demo-1") },
        "join" => Command::Join { worker: worker(), slots: holding(words[2].parse().unwrap(), &words[3..]) },
        "leave" => Command::Leave { worker: worker(), reason: LeaveReason::Disconnected },
        "silent" => Command::Leave { worker: worker(), reason: LeaveReason::Silent },
        "stop" => Command::Leave { worker: worker(), reason: LeaveReason::Drained },
        "resume" => Command::Resume { sessions_ended: has("ended") },
        "yielded" => Command::Yield { lease: lease(words[1]) },
        "drain" => Command::Drain { worker: worker() },
        "reinstate" => Command::Reinstate { worker: worker() },
        "damaged" => Command::ReportDamaged { digest: artifact(words[1]).digest },
        "pin" => Command::Pin { digest: artifact(words[1]).digest },
        "unpin" => Command::Unpin { digest: artifact(words[1]).digest },
        "share" => Command::SetShare { namespace: words[1].into(), weight: words[2].parse().unwrap() },
        "beat" => Command::Heartbeat { worker: worker() },
        "ready" => Command::Ready { worker: worker(), slot: words[2].parse().unwrap() },
        "checkpoint" => Command::CommitCheckpoint {
            lease: lease(words[1]),
            run: words[2].parse().unwrap(),
            step: words[3].parse().unwrap(),
            artifact: artifact(option("as=").unwrap_or(&format!("c{}.{}", words[2], words[3]))),
            branch: option("branch=").map(|branch| branch.parse().unwrap()),
        },
        "model" => Command::CommitModel {
            lease: lease(words[1]),
            run: words[2].parse().unwrap(),
            kind: kind(words[3]),
            artifact: artifact(option("as=").unwrap_or(&format!("m{}.{}", words[2], words[3]))),
            batch_norm: has("bn"),
        },
        "trained" => Command::FinishTraining { lease: lease(words[1]) },
        "calibrated" => Command::FinishCalibration {
            lease: lease(words[1]),
            artifact: artifact(option("as=").unwrap_or("calibrated")),
        },
        "evaluated" => Command::FinishEvaluation {
            lease: lease(words[1]),
            predictions: artifact(option("as=").unwrap_or(&format!("p-{}", words[1].split('@').next().unwrap()))),
            scores: scores(words.get(2).and_then(|word| word.parse().ok())),
        },
        "fail" => Command::Fail { lease: lease(words[1]), failure: failure(words[2]) },
        "averaged" => Command::FinishAverage {
            job: JobId::new("demo-1"),
            average: words[1].parse().unwrap(),
            outcome: if has("refused") {
                AverageOutcome::Refused { message: "`fc.weight` has other shapes".into() }
            } else {
                AverageOutcome::Averaged { artifact: artifact("soup"), batch_norm: has("bn") }
            },
        },
        "reported" => Command::FinishReport { job: JobId::new("demo-1"), outcome: reported(has("refused")) },
        other => panic!("no event is called `{other}`"),
    }
}

pub fn slots(count: u32) -> Vec<Slot> {
    (0..count).map(|index| Slot { index, device: "cpu".into(), holds: None }).collect()
}

/// Slots of which some hold leases, each said as `SLOT=TASK@N`.
fn holding(count: u32, leases: &[&str]) -> Vec<Slot> {
    let mut slots = slots(count);
    for (slot, held) in leases.iter().map(|held| held.split_once('=').unwrap()) {
        slots[slot.parse::<usize>().unwrap()].holds = Some(lease(held));
    }
    slots
}

fn lease(text: &str) -> LeaseKey {
    let (task, attempt) = text.split_once('@').unwrap();
    let first = if task.starts_with("demo-") { "" } else { "demo-1/" };
    LeaseKey { task: TaskId::new(format!("{first}{task}")), attempt: attempt.parse().unwrap() }
}

fn kind(text: &str) -> ModelKind {
    match text.split_once('-') {
        Some(("snapshot", cycle)) => ModelKind::Snapshot { cycle: cycle.parse().unwrap() },
        Some(("average", index)) => ModelKind::Average { index: index.parse().unwrap() },
        _ => ModelKind::Final,
    }
}

fn failure(class: &str) -> Failure {
    let (class, message) = match class {
        "user" => (FailureClass::User, "the network has no parameters"),
        "data" => (FailureClass::Data, "label 11 is out of range"),
        "memory" => (FailureClass::OutOfMemory, "out of memory"),
        "device" => (FailureClass::Device, "the device fell off the bus"),
        "store" => (FailureClass::Infrastructure, "the store does not answer"),
        "engine" => (FailureClass::EngineLost, "the engine was killed by signal 9"),
        other => panic!("no failure is called `{other}`"),
    };
    Failure { class, message: message.into() }
}

/// Scores of which all that is compared is the held-out loss; accuracy falls as it rises.
pub fn scores(held_out: Option<f64>) -> EvaluationScores {
    let of = |nll: f64| Scores { accuracy: 1.0 - nll / 10.0, nll, brier: 0.1, ece: 0.01, samples: 100 };
    EvaluationScores { validation: Some(of(0.5)), test: Some(of(0.5)), held_out: held_out.map(of) }
}

fn reported(refused: bool) -> ReportOutcome {
    match refused {
        true => ReportOutcome::Refused { message: "the predictions do not fit together".into() },
        false => ReportOutcome::Done { report: Box::new(report()) },
    }
}

pub fn report() -> Report {
    Report {
        members: Vec::new(),
        averages: Vec::new(),
        ensemble: ReportRow { name: "ensemble".into(), validation: None, test: None },
        weights: Vec::new(),
        temperature: 1.0,
        disagreement: None,
        lost: Vec::new(),
    }
}

/// An artifact with a readable name: its bytes in hexadecimal, filled up with zeros.
pub fn artifact(name: &str) -> Artifact {
    let mut digest: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(digest.len() <= 64, "`{name}` is too long a name");
    digest.extend(std::iter::repeat_n('0', 64 - digest.len()));
    Artifact { digest: Digest::try_from(digest).unwrap(), bytes: 10 }
}

/// The readable name of an artifact.
pub fn named(digest: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&digest[at..at + 2], 16).unwrap() as char;
    (0..64).step_by(2).map(byte).take_while(|&letter| letter != '\0').collect()
}

/// Text with digests replaced by names.
fn readable(text: &str) -> String {
    let mut parts = text.split('"').map(str::to_owned).collect::<Vec<_>>();
    let digest = |part: &String| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter_mut().filter(|part| digest(part)).for_each(|part| *part = named(part));
    parts.join("\"")
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Accepted { job } => format!("accepted {job}"),
        Effect::Grant { worker, slot, lease, work } => {
            format!("grant {worker}/{slot} {}: {}", short(lease), told_work(work))
        }
        Effect::Kept { worker, slot, lease } => format!("kept {worker}/{slot} {}", short(lease)),
        Effect::Yield { worker, lease } => format!("yield {worker} {}", short(lease)),
        Effect::Revoke { worker, lease } => format!("revoke {worker} {}", short(lease)),
        Effect::Average { average, models, .. } => format!("average {average}: {}", names(models)),
        Effect::Combine { members, averages, .. } => format!("combine {} | {}", rows(members), rows(averages)),
        Effect::JobEnded { job } => format!("{job} ended"),
        Effect::Lost { worker } => format!("lost {worker}"),
        Effect::Retried { task } => format!("retried {task}"),
    }
}

/// The artifacts that whoever carries an effect out will read.
pub fn handed_out(effect: &Effect) -> Vec<Artifact> {
    match effect {
        Effect::Grant { work: Work::Train { runs, .. }, .. } => {
            runs.iter().filter_map(|run| run.resume.clone()).collect()
        }
        Effect::Grant { work: Work::Calibrate { model, .. } | Work::Evaluate { model, .. }, .. } => vec![model.clone()],
        Effect::Average { models, .. } => models.clone(),
        Effect::Combine { members, averages, .. } => {
            members.iter().chain(averages).map(|model| model.predictions.clone()).collect()
        }
        _ => Vec::new(),
    }
}

fn told_work(work: &Work) -> String {
    match work {
        Work::Train { runs, .. } => {
            let run = |run: &ensemble::cluster::TrainRun| match &run.resume {
                Some(from) => format!("{} from {}", run.run.name, named(from.digest.as_str())),
                None => run.run.name.clone(),
            };
            runs.iter().map(run).collect::<Vec<_>>().join(", ")
        }
        Work::Calibrate { run, model, .. } => format!("{} as {}", named(model.digest.as_str()), run.name),
        Work::Evaluate { run, model, .. } => format!("{} as {}", named(model.digest.as_str()), run.name),
    }
}

fn short(lease: &LeaseKey) -> String {
    format!("{}@{}", lease.task.as_str().trim_start_matches("demo-1/"), lease.attempt)
}

fn names(artifacts: &[Artifact]) -> String {
    artifacts.iter().map(|artifact| named(artifact.digest.as_str())).collect::<Vec<_>>().join(" ")
}

fn rows(models: &[Evaluated]) -> String {
    let row = |model: &Evaluated| format!("{}={}", model.name, named(model.predictions.digest.as_str()));
    models.iter().map(row).collect::<Vec<_>>().join(" ")
}
