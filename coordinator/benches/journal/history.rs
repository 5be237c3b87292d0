//! A history as clusters have it: jobs come, workers train their members with ten checkpoints each, and evaluate them.

use coordinator::journal::{Entry, Sequence, Snapshot};
use ensemble::cluster::{Cluster, Command, Effect, EvaluationScores, LeaseKey, Millis, Settings, Slot, Work};
use ensemble::id::{Digest, WorkerId};
use ensemble::job::Job;
use ensemble::metrics::Scores;
use ensemble::run::{Artifact, ModelKind};
use std::collections::VecDeque;

const WORKERS: usize = 1_000;
const MEMBERS: usize = 100;
const CHECKPOINTS: u64 = 10;
/// Between two commands: an hour for a hundred thousand.
const EVERY: Millis = 36;

pub struct History {
    pub entries: Vec<Entry>,
    /// The state after some of them.
    pub kept: Snapshot,
    /// What it is, in words.
    pub what: String,
}

impl History {
    /// The first so many commands, with the state kept after `kept_at` of them.
    pub fn of(entries: usize, kept_at: usize) -> Self {
        let mut play = Play::new(kept_at);
        (0..WORKERS).for_each(|worker| play.join(worker));
        while play.entries.len() < entries {
            match play.inbox.pop_front() {
                Some(command) => play.apply(command),
                None => play.submit(),
            }
        }
        play.entries.truncate(entries);
        let what = format!("{entries} commands of {} jobs on {WORKERS} workers", play.jobs);
        Self { entries: play.entries, kept: play.kept.expect("it is kept on the way"), what }
    }
}

struct Play {
    cluster: Cluster,
    entries: Vec<Entry>,
    /// What the workers say next.
    inbox: VecDeque<Command>,
    jobs: usize,
    kept_at: usize,
    kept: Option<Snapshot>,
}

impl Play {
    fn new(kept_at: usize) -> Self {
        let cluster = Cluster::new(Settings::default());
        Self { cluster, entries: Vec::new(), inbox: VecDeque::new(), jobs: 0, kept_at, kept: None }
    }

    fn join(&mut self, worker: usize) {
        let worker = WorkerId::new(format!("worker-{worker}"));
        let slots = vec![Slot { index: 0, device: "cuda:0".into(), holds: None }];
        self.apply(Command::Join { worker: worker.clone(), slots });
        self.apply(Command::Ready { worker, slot: 0 });
    }

    fn submit(&mut self) {
        self.jobs += 1;
        let file = format!(
            "name: history\ndata: {{format: idx, path: /data}}\nmodel: {{architecture: cnn}}\ntrain: {{epochs: 10}}\n\
             members: [{{seeds: {{count: {MEMBERS}}}}}]"
        );
        let job = Job::parse(&file, &[]).expect("the job file is valid");
        self.apply(Command::Submit { key: format!("key-{}", self.jobs), job: Box::new(job) });
    }

    fn apply(&mut self, command: Command) {
        let at = self.entries.len() as Millis * EVERY;
        let effects = self.cluster.apply(at, command.clone()).expect("nothing goes wrong here");
        self.entries.push(Entry { at, command });
        for effect in effects {
            if let Effect::Grant { worker, slot, lease, work } = effect {
                self.inbox.extend(said(&lease, &work));
                self.inbox.push_back(Command::Ready { worker, slot });
            }
        }
        if self.entries.len() == self.kept_at {
            let state = serde_json::to_string(&self.cluster.snapshot()).expect("a state has a JSON form");
            self.kept = Some(Snapshot { sequence: self.kept_at as Sequence, at, state });
        }
    }
}

/// All that a worker says about a task.
fn said(lease: &LeaseKey, work: &Work) -> Vec<Command> {
    let lease = lease.clone();
    let Work::Train { runs, .. } = work else {
        let (predictions, scores) = (artifact(&lease, 0), scores());
        return vec![Command::FinishEvaluation { lease, predictions, scores }];
    };
    let run = runs[0].run.index;
    let checkpoint = |step| {
        let (lease, artifact) = (lease.clone(), artifact(&lease, step));
        Command::CommitCheckpoint { lease, run, step, artifact, branch: None }
    };
    let mut said: Vec<_> = (1..=CHECKPOINTS).map(checkpoint).collect();
    let artifact = artifact(&lease, 0);
    said.push(Command::CommitModel { lease: lease.clone(), run, kind: ModelKind::Final, artifact, batch_norm: false });
    said.push(Command::FinishTraining { lease });
    said
}

/// An artifact named after what it is: the end of that in hexadecimal.
fn artifact(lease: &LeaseKey, step: u64) -> Artifact {
    let text = format!("{:>30}{step:02}", lease.task.as_str());
    let digest: String = text.as_bytes()[text.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
    Artifact { digest: Digest::try_from(digest).expect("64 hexadecimal digits"), bytes: 500_000 }
}

fn scores() -> EvaluationScores {
    let scores = Scores { accuracy: 0.9, nll: 0.3, brier: 0.1, ece: 0.01, samples: 10_000 };
    EvaluationScores { validation: Some(scores), test: Some(scores), held_out: None }
}
