//! How long a decision takes, as the cluster grows: `cargo run --release -p ensemble --example scale`.
//!
//! Each row submits jobs of 10,000 members, lets every worker join with one slot, and then plays all tasks to the end:
//! grant, checkpoint, model, finish, evaluation, and a heartbeat of each worker in between. Commands are made before the
//! clock starts, so that only the cluster is measured. The time of a decision must not grow with the tasks.

use ensemble::cluster::{Cluster, Command, Effect, EvaluationScores, LeaseKey, Settings, Slot, Work};
use ensemble::id::{Digest, WorkerId};
use ensemble::job::Job;
use ensemble::metrics::Scores;
use ensemble::run::{Artifact, ModelKind};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MEMBERS_PER_JOB: usize = 10_000;

fn main() {
    println!(
        "{:>8} {:>8} {:>10} {:>12} {:>12} {:>10}",
        "workers", "members", "submit ms", "decisions", "mean ns", "worst us"
    );
    for (workers, members) in [(100, 10_000), (1_000, 10_000), (1_000, 50_000), (10_000, 50_000), (10_000, 100_000)] {
        row(workers, members);
    }
}

fn row(workers: usize, members: usize) {
    let mut run = Run { cluster: Cluster::new(Settings::default()), clock: Clock::default(), inbox: VecDeque::new() };
    let start = Instant::now();
    for job in 0..members / MEMBERS_PER_JOB {
        run.apply(Command::Submit { key: format!("key-{job}"), job: Box::new(job_of(MEMBERS_PER_JOB)) });
    }
    let submit = start.elapsed();
    run.clock = Clock::default();
    for worker in 0..workers {
        run.apply(Command::Join {
            worker: worker_id(worker),
            slots: vec![Slot { index: 0, device: "cpu".into(), holds: None }],
        });
        run.apply(Command::Ready { worker: worker_id(worker), slot: 0 });
    }
    let mut beats = 0;
    while let Some(command) = run.inbox.pop_front() {
        run.apply(command);
        run.apply(Command::Heartbeat { worker: worker_id(beats % workers) });
        beats += 1;
    }
    assert!(run.cluster.jobs().iter().all(|job| job.members_ready == job.members_total), "all members are evaluated");
    let Clock { decisions, total, worst } = run.clock;
    let mean = total.as_nanos() / u128::from(decisions);
    println!(
        "{workers:>8} {members:>8} {:>10} {decisions:>12} {mean:>12} {:>10}",
        submit.as_millis(),
        worst.as_micros()
    );
}

struct Run {
    cluster: Cluster,
    clock: Clock,
    /// What the workers say next.
    inbox: VecDeque<Command>,
}

#[derive(Default)]
struct Clock {
    decisions: u64,
    total: Duration,
    worst: Duration,
}

impl Run {
    fn apply(&mut self, command: Command) {
        let start = Instant::now();
        let effects = self.cluster.apply(0, command).expect("nothing goes wrong here");
        let took = start.elapsed();
        self.clock.decisions += 1;
        self.clock.total += took;
        self.clock.worst = self.clock.worst.max(took);
        for effect in effects {
            if let Effect::Grant { worker, slot, lease, work } = effect {
                self.inbox.extend(said(&lease, &work));
                self.inbox.push_back(Command::Ready { worker, slot });
            }
        }
    }
}

/// All that a worker says about a task.
fn said(lease: &LeaseKey, work: &Work) -> Vec<Command> {
    let (lease, artifact) = (lease.clone(), artifact(&lease.task.to_string()));
    match work {
        Work::Train { runs, .. } => {
            let run = runs[0].run.index;
            let (first, second, third) = (lease.clone(), lease.clone(), lease);
            vec![
                Command::CommitCheckpoint { lease: first, run, step: 1, artifact: artifact.clone(), branch: None },
                Command::CommitModel { lease: second, run, kind: ModelKind::Final, artifact, batch_norm: false },
                Command::FinishTraining { lease: third },
            ]
        }
        _ => vec![Command::FinishEvaluation { lease, predictions: artifact, scores: scores() }],
    }
}

fn scores() -> EvaluationScores {
    let scores = Scores { accuracy: 0.9, nll: 0.3, brier: 0.1, ece: 0.01, samples: 10_000 };
    EvaluationScores { validation: Some(scores), test: Some(scores), held_out: None }
}

fn worker_id(index: usize) -> WorkerId {
    WorkerId::new(format!("worker-{index}"))
}

/// An artifact named after a text: its last 32 bytes in hexadecimal.
fn artifact(text: &str) -> Artifact {
    let tail = &text.as_bytes()[text.len().saturating_sub(32)..];
    let mut digest: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    digest.extend(std::iter::repeat_n('0', 64 - digest.len()));
    Artifact { digest: Digest::try_from(digest).expect("64 hexadecimal digits"), bytes: 1 }
}

fn job_of(members: usize) -> Job {
    let file = format!(
        "name: scale\ndata: {{format: idx, path: /data}}\nmodel: {{architecture: cnn}}\ntrain: {{epochs: 1}}\n\
         members: [{{seeds: {{count: {members}}}}}]"
    );
    Job::parse(&file, &[]).expect("the job file is valid")
}
