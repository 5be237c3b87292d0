//! How long a decision takes, as the cluster grows: `cargo run --release -p ensemble --example scale`.
//!
//! Each row submits jobs, lets every worker join with one slot, and then plays all tasks to the end: grant, checkpoint,
//! model, finish, evaluation, and a heartbeat of each worker in between. Commands are made before the clock starts, so
//! that only the cluster is measured; heartbeats, of which nothing is decided, are left out of the figures. "Placed" is
//! when all jobs are admitted, all workers have joined and no slot waits beside a task. Then the state is written as a
//! snapshot and read again. The time of a decision must not grow with the tasks. Memory is that of the process, so each
//! row runs in one of its own.

use ensemble::cluster::{Cluster, Command, Effect, EvaluationScores, LeaseKey, Settings, Slot, Work};
use ensemble::id::{Digest, WorkerId};
use ensemble::job::Job;
use ensemble::metrics::Scores;
use ensemble::run::{Artifact, ModelKind};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Workers, jobs, and members of each job. The last but one is the size the project promises.
const ROWS: [[usize; 3]; 5] =
    [[1_000, 10, 50], [10_000, 10, 50], [10_000, 10, 5_000], [10_000, 1_000, 50], [10_000, 2_000, 50]];

fn main() {
    let row: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if let [workers, jobs, members] = row[..] {
        return measure(workers, jobs, members);
    }
    println!(
        "{:>7} {:>6} {:>7} {:>10} {:>9} {:>9} {:>7} {:>7} {:>7} {:>9} {:>7} {:>8} {:>8} {:>8}",
        "workers",
        "jobs",
        "tasks",
        "placed s",
        "decisions",
        "per s",
        "mean us",
        "p50 us",
        "p99 us",
        "worst us",
        "MiB",
        "snap MiB",
        "write s",
        "read s"
    );
    let program = std::env::current_exe().expect("a running program has a file");
    for row in ROWS {
        let run = std::process::Command::new(&program).args(row.map(|size| size.to_string())).status();
        assert!(run.is_ok_and(|status| status.success()), "the row {row:?} runs to its end");
    }
}

fn measure(workers: usize, jobs: usize, members: usize) {
    let submissions: Vec<_> = (0..jobs).map(|job| (format!("key-{job}"), Box::new(job_of(members)))).collect();
    let mut run = Run { cluster: Cluster::new(Settings::default()), took: Vec::new(), inbox: VecDeque::new() };
    let start = Instant::now();
    for (key, job) in submissions {
        run.apply(Command::Submit { key, job });
    }
    run.took.clear();
    for worker in 0..workers {
        let slots = vec![Slot { index: 0, device: "cpu".into(), holds: None }];
        run.apply(Command::Join { worker: worker_id(worker), slots });
        run.apply(Command::Ready { worker: worker_id(worker), slot: 0 });
    }
    let placed = start.elapsed();
    run.play(workers, placed, jobs, members);
}

struct Run {
    cluster: Cluster,
    took: Vec<Duration>,
    /// What the workers say next.
    inbox: VecDeque<Command>,
}

impl Run {
    fn play(mut self, workers: usize, placed: Duration, jobs: usize, members: usize) {
        let half = jobs * members * 3;
        let mut snapshot = None;
        let mut beats = 0;
        while let Some(command) = self.inbox.pop_front() {
            self.apply(command);
            self.beat(beats % workers);
            beats += 1;
            if beats == half {
                snapshot = Some(self.write_and_read());
            }
        }
        assert!(
            self.cluster.jobs().iter().all(|job| job.members_ready == job.members_total),
            "all members are evaluated"
        );
        self.took.sort_unstable();
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let decisions = self.took.len();
        let total: Duration = self.took.iter().sum();
        let at = |part: usize| us(self.took[decisions * part / 100]);
        let (bytes, write, read) = snapshot.expect("every member is at least six messages");
        println!(
            "{workers:>7} {jobs:>6} {:>7} {:>10.2} {decisions:>9} {:>9.0} {:>7.2} {:>7.2} {:>7.2} {:>9.0} {:>7} {:>8.1} {:>8.2} {:>8.2}",
            2 * jobs * members,
            placed.as_secs_f64(),
            decisions as f64 / total.as_secs_f64(),
            us(total) / decisions as f64,
            at(50),
            at(99),
            us(self.took[decisions - 1]),
            resident_mib(),
            bytes as f64 / f64::from(1 << 20),
            write.as_secs_f64(),
            read.as_secs_f64(),
        );
    }

    fn beat(&mut self, worker: usize) {
        let command = Command::Heartbeat { worker: worker_id(worker) };
        self.cluster.apply(0, command).expect("the worker is in session");
    }

    fn apply(&mut self, command: Command) {
        let start = Instant::now();
        let effects = self.cluster.apply(0, command).expect("nothing goes wrong here");
        self.took.push(start.elapsed());
        for effect in effects {
            if let Effect::Grant { worker, slot, lease, work } = effect {
                self.inbox.extend(said(&lease, &work));
                self.inbox.push_back(Command::Ready { worker, slot });
            }
        }
    }

    /// A snapshot's size, and how long it takes to write and to read it.
    fn write_and_read(&self) -> (usize, Duration, Duration) {
        let start = Instant::now();
        let bytes = serde_json::to_vec(&self.cluster.snapshot()).expect("a state has a JSON form");
        let write = start.elapsed();
        let start = Instant::now();
        let restored = Cluster::restore(self.cluster.settings(), &mut serde_json::Deserializer::from_slice(&bytes));
        let read = start.elapsed();
        assert!(restored.is_ok_and(|restored| restored == self.cluster), "a snapshot is the whole cluster");
        (bytes.len(), write, read)
    }
}

/// The most memory that this process has had, in MiB; 0 where the system does not say.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
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
