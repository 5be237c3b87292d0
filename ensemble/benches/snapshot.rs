//! Snapshots of the whole state: `cargo bench -p ensemble --bench snapshot`.
//!
//! 50 jobs of 1,000 members that are trained and evaluated, but for the last of each; n = 5. Prints the size, and the
//! median, least and most seconds of writing and of reading.
#![allow(clippy::unwrap_used, missing_docs)]

use ensemble::cluster::{Cluster, Command, Effect, EvaluationScores, Settings, Slot, Work};
use ensemble::id::{Digest, WorkerId};
use ensemble::job::Job;
use ensemble::metrics::Scores;
use ensemble::run::{Artifact, ModelKind};
use std::time::Instant;

const JOBS: u32 = 50;
const MEMBERS: u32 = 1_000;

fn main() {
    let bench = std::env::args().any(|argument| argument == "--bench");
    let (jobs, rounds) = if bench { (JOBS, 5) } else { (1, 1) };
    let cluster = cluster(jobs);
    let mut bytes = 0;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let start = Instant::now();
        let snapshot = serde_json::to_vec(&cluster.snapshot()).unwrap();
        times[0].push(start.elapsed().as_secs_f64());
        bytes = snapshot.len();
        let start = Instant::now();
        let mut reader = serde_json::Deserializer::from_slice(&snapshot);
        let restored = Cluster::restore(Settings::default(), &mut reader).unwrap();
        times[1].push(start.elapsed().as_secs_f64());
        assert!(restored == cluster);
    }
    println!("{} members: {:.1} MB", jobs * MEMBERS, bytes as f64 / 1e6);
    for (name, mut seconds) in ["write", "read"].into_iter().zip(times) {
        seconds.sort_by(f64::total_cmp);
        let [least, median, most] = [0, seconds.len() / 2, seconds.len() - 1].map(|at| seconds[at]);
        println!("{name}: {median:.3} s [{least:.3} .. {most:.3}]");
    }
}

/// A cluster whose one worker has done all but the last member of each job.
fn cluster(jobs: u32) -> Cluster {
    let mut cluster = Cluster::new(Settings::default());
    let worker = WorkerId::new("worker-1");
    for number in 0..jobs {
        let file = format!(
            "{{name: scale, data: {{format: idx, path: /data}}, model: {{architecture: resnet18}}, train: {{epochs: 20}}, \
             members: [seeds: {{count: {MEMBERS}}}]}}"
        );
        let job = Box::new(Job::parse(&file, &[]).unwrap());
        cluster.apply(0, Command::Submit { key: format!("key-{number}"), job }).unwrap();
    }
    let slots = vec![Slot { index: 0, device: "cuda:0".into(), holds: None }];
    cluster.apply(0, Command::Join { worker: worker.clone(), slots }).unwrap();
    for _ in 0..2 * jobs * (MEMBERS - 1) {
        let effects = cluster.apply(0, Command::Ready { worker: worker.clone(), slot: 0 }).unwrap();
        let [Effect::Grant { lease, work, .. }] = &effects[..] else { panic!("a grant was due: {effects:?}") };
        work_through(&mut cluster, lease, work);
    }
    cluster
}

fn work_through(cluster: &mut Cluster, lease: &ensemble::cluster::LeaseKey, work: &Work) {
    let lease = || lease.clone();
    if let Work::Train { runs, .. } = work {
        let run = runs[0].run.index;
        for step in [1_000, 2_000] {
            let artifact = artifact(&format!("checkpoint {} {step}", lease().task));
            cluster.apply(1, Command::CommitCheckpoint { lease: lease(), run, step, artifact, branch: None }).unwrap();
        }
        let artifact = artifact(&format!("model {}", lease().task));
        let model = Command::CommitModel { lease: lease(), run, kind: ModelKind::Final, artifact, batch_norm: true };
        cluster.apply(2, model).unwrap();
        cluster.apply(3, Command::FinishTraining { lease: lease() }).unwrap();
    } else {
        let of = Scores { accuracy: 0.912_345_678_9, nll: 0.312_345_678_9, brier: 0.1, ece: 0.01, samples: 10_000 };
        let scores = EvaluationScores { validation: Some(of), test: Some(of), held_out: None };
        let predictions = artifact(&format!("predictions {}", lease().task));
        cluster.apply(4, Command::FinishEvaluation { lease: lease(), predictions, scores }).unwrap();
    }
}

/// An artifact of which all that matters is that no other has its digest.
fn artifact(name: &str) -> Artifact {
    let hash = |salt: u64| {
        name.bytes().fold(salt, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
    };
    let digest = [1, 2, 3, 4].map(|salt| format!("{:016x}", hash(salt))).concat();
    Artifact { digest: Digest::try_from(digest).unwrap(), bytes: 44_000_000 }
}
