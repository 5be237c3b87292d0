//! What a cluster holds is bounded, and full is a typed answer.

use crate::script::{job, slots};
use ensemble::cluster::{
    Cluster, Command, Failure, FailureClass, JOBS_MAX, LeaseKey, LeaveReason, MESSAGE_BYTES_MAX, RUNS_TOTAL_MAX,
    Rejection, Settings, Slot, WORKERS_MAX,
};
use ensemble::id::{JobId, TaskId, WorkerId};

fn cluster() -> Cluster {
    Cluster::new(Settings::default())
}

fn submit(cluster: &mut Cluster, key: &str, sections: &str) -> Result<(), Rejection> {
    let job = Box::new(job(sections).unwrap());
    cluster.apply(0, Command::Submit { key: key.into(), job }).map(drop)
}

fn join(cluster: &mut Cluster, now: u64, name: &str, slots: Vec<Slot>) -> Result<(), Rejection> {
    cluster.apply(now, Command::Join { worker: WorkerId::new(name), slots }).map(drop)
}

#[test]
fn jobs_are_bounded_and_a_known_key_is_still_answered() {
    let mut cluster = cluster();
    let one = "members: [{seeds: {count: 1}}]";
    (0..JOBS_MAX).for_each(|key| submit(&mut cluster, &key.to_string(), one).unwrap());
    assert!(matches!(submit(&mut cluster, "more", one), Err(Rejection::Full(_))));
    submit(&mut cluster, "0", one).unwrap();
}

#[test]
fn runs_of_all_jobs_are_bounded() {
    let mut cluster = cluster();
    let many = "members: [{seeds: {count: 10000}}]";
    (0..RUNS_TOTAL_MAX / 10_000).for_each(|key| submit(&mut cluster, &key.to_string(), many).unwrap());
    assert!(matches!(submit(&mut cluster, "more", many), Err(Rejection::Full(_))));
}

#[test]
fn workers_are_bounded_and_the_one_gone_longest_is_forgotten_first() {
    let mut cluster = cluster();
    for worker in 0..WORKERS_MAX {
        join(&mut cluster, worker as u64, &format!("w{worker}"), slots(1)).unwrap();
    }
    assert!(matches!(join(&mut cluster, 0, "more", slots(1)), Err(Rejection::Full(_))));
    for worker in ["w7", "w5", "w6"] {
        let leave = Command::Leave { worker: WorkerId::new(worker), reason: LeaveReason::Drained };
        cluster.apply(0, leave).unwrap();
    }
    join(&mut cluster, 0, "w6", slots(1)).unwrap();
    join(&mut cluster, 0, "more", slots(1)).unwrap();
    let known = |name: &str| cluster.workers().iter().any(|worker| worker.id.as_str() == name);
    assert_eq!(["w5", "w6", "w7", "more"].map(known), [false, true, true, true]);
}

#[test]
fn names_slots_and_keys_are_bounded() {
    let mut cluster = cluster();
    let long = "x".repeat(257);
    assert!(matches!(join(&mut cluster, 0, &long, slots(1)), Err(Rejection::Unexpected(_))));
    assert!(matches!(join(&mut cluster, 0, "w", slots(257)), Err(Rejection::Unexpected(_))));
    let twice = [slots(1), slots(1)].concat();
    assert!(matches!(join(&mut cluster, 0, "w", twice), Err(Rejection::Unexpected(_))));
    let device = vec![Slot { index: 0, device: long.clone(), holds: None }];
    assert!(matches!(join(&mut cluster, 0, "w", device), Err(Rejection::Unexpected(_))));
    let one = "members: [{seeds: {count: 1}}]";
    assert!(matches!(submit(&mut cluster, &long, one), Err(Rejection::InvalidJob(_))));
    assert!(matches!(submit(&mut cluster, "", one), Err(Rejection::InvalidJob(_))));
    assert!(cluster.jobs().is_empty() && cluster.workers().is_empty(), "a refused command changes nothing");
}

#[test]
fn a_long_message_of_a_failure_is_cut_between_characters() {
    let mut cluster = cluster();
    submit(&mut cluster, "key", "members: [{seeds: {count: 1}}]").unwrap();
    join(&mut cluster, 0, "w", slots(1)).unwrap();
    cluster.apply(0, Command::Ready { worker: WorkerId::new("w"), slot: 0 }).unwrap();
    let lease = LeaseKey { task: TaskId::new("demo-1/train/0"), attempt: 1 };
    let message = "ü€".repeat(MESSAGE_BYTES_MAX);
    let failure = Failure { class: FailureClass::User, message };
    cluster.apply(0, Command::Fail { lease, failure }).unwrap();
    let detail = cluster.job(&JobId::new("demo-1")).unwrap().detail;
    assert!((MESSAGE_BYTES_MAX - 3..=MESSAGE_BYTES_MAX).contains(&detail.len()), "{} bytes", detail.len());
}
