//! Sentences that hold after every event, about what the cluster shows and what the workers do.

use super::agenda::Time;
use super::ledger::Ledger;
use super::worker::Worker;
use ensemble::cluster::{Cluster, Millis};
use ensemble::id::WorkerId;
use ensemble::view::{JobView, MemberState, Phase, Standing, TaskState, TaskView, WorkerView};
use std::collections::{BTreeMap, BTreeSet};

/// What a cluster shows, taken once for all sentences.
pub struct Shown {
    jobs: Vec<JobView>,
    tasks: Vec<TaskView>,
    workers: Vec<WorkerView>,
}

impl Shown {
    pub fn of(cluster: &Cluster) -> Self {
        let jobs = cluster.jobs();
        let tasks = jobs.iter().flat_map(|job| cluster.tasks(&job.id).expect("the job was just shown")).collect();
        Self { jobs, tasks, workers: cluster.workers() }
    }
}

/// All sentences about a cluster.
pub fn check(cluster: &Cluster, ledger: &mut Ledger, now: Millis) {
    let shown = Shown::of(cluster);
    invariant_a_slot_holds_at_most_one_lease_and_shows_it(&shown);
    invariant_attempts_grow_and_what_is_done_stays_done(&shown, ledger);
    invariant_an_ended_job_holds_no_leases(&shown);
    invariant_every_member_of_a_done_job_has_scores(&shown, cluster);
    invariant_no_slot_waits_beside_a_ready_task(&shown, ledger);
    invariant_budgets_are_kept(&shown, cluster);
    invariant_next_due_is_the_moment_at_which_something_is_due(cluster, now);
    ledger.invariant_what_was_promised_is_remembered(cluster);
}

fn invariant_a_slot_holds_at_most_one_lease_and_shows_it(shown: &Shown) {
    let mut leases = BTreeMap::new();
    for task in &shown.tasks {
        assert_eq!(task.at.is_some(), task.state == TaskState::Leased, "invariant_leases_are_held_by_slots: {task:?}");
        if let Some(at) = &task.at {
            let other = leases.insert(at.clone(), task.id.clone());
            assert!(other.is_none(), "invariant_a_slot_holds_at_most_one_lease: {at:?}: {} and {other:?}", task.id);
        }
    }
    let slots = shown.workers.iter().flat_map(|worker| worker.slots.iter().map(|slot| (worker.id.clone(), slot)));
    let at_work: BTreeMap<_, _> =
        slots.filter_map(|(worker, slot)| Some(((worker, slot.index), slot.task.clone()?))).collect();
    assert_eq!(at_work, leases, "invariant_a_lease_is_held_by_the_slot_that_shows_it");
}

fn invariant_attempts_grow_and_what_is_done_stays_done(shown: &Shown, ledger: &mut Ledger) {
    let epoch = ledger.epoch();
    for task in &shown.tasks {
        let before = epoch.attempts.insert(task.id.clone(), task.attempt).unwrap_or(0);
        assert!(before <= task.attempt, "invariant_attempts_grow: {task:?} was at attempt {before}");
        match task.state {
            TaskState::Done => drop(epoch.done.insert(task.id.clone())),
            _ => assert!(!epoch.done.contains(&task.id), "invariant_what_is_done_stays_done: {task:?}"),
        }
    }
}

fn invariant_an_ended_job_holds_no_leases(shown: &Shown) {
    let ended: BTreeSet<_> = shown.jobs.iter().filter(|job| job.ended_ms.is_some()).map(|job| &job.id).collect();
    let over = [TaskState::Done, TaskState::Failed, TaskState::Withdrawn];
    for task in shown.tasks.iter().filter(|task| !over.contains(&task.state)) {
        let job = task.id.job();
        assert!(!job.is_some_and(|job| ended.contains(&job)), "invariant_an_ended_job_holds_no_leases: {task:?}");
    }
}

fn invariant_every_member_of_a_done_job_has_scores(shown: &Shown, cluster: &Cluster) {
    for job in shown.jobs.iter().filter(|job| job.phase == Phase::Done) {
        assert_eq!(job.members_ready, job.members_total, "invariant_every_member_of_a_done_job_has_scores: {job:?}");
        for member in cluster.members(&job.id).expect("the job is shown") {
            let scored = member.state == MemberState::Evaluated && member.test.is_some();
            assert!(scored, "invariant_every_member_of_a_done_job_has_scores: {member:?}");
        }
        for average in cluster.averages(&job.id).expect("the job is shown") {
            let scored = average.state == MemberState::Evaluated;
            assert!(scored, "invariant_every_member_of_a_done_job_has_scores: {average:?}");
        }
    }
}

fn invariant_no_slot_waits_beside_a_ready_task(shown: &Shown, ledger: &mut Ledger) {
    let Some(ready) = shown.tasks.iter().find(|task| task.state == TaskState::Ready) else { return };
    let takes = |worker: &&WorkerView| worker.connected && worker.standing == Standing::Active;
    let active: BTreeSet<&WorkerId> = shown.workers.iter().filter(takes).map(|worker| &worker.id).collect();
    let waiting = ledger.epoch().waiting.iter().find(|(worker, _)| active.contains(worker));
    assert!(waiting.is_none(), "invariant_no_slot_waits_beside_a_ready_task: {waiting:?} and {}", ready.id);
}

fn invariant_budgets_are_kept(shown: &Shown, cluster: &Cluster) {
    let settings = cluster.settings();
    for task in shown.tasks.iter().filter(|task| task.state != TaskState::Failed) {
        let kept = task.failures <= settings.restarts_max + 2 && task.losses <= settings.losses_max;
        assert!(kept, "invariant_budgets_are_kept: {task:?}");
    }
}

fn invariant_next_due_is_the_moment_at_which_something_is_due(cluster: &Cluster, now: Millis) {
    let Some(next) = cluster.next_due() else {
        let due = cluster.due(now + 1_000_000_000);
        return assert!(due.is_empty(), "invariant_next_due_is_never_missed: {due:?}");
    };
    assert!(!cluster.due(next).is_empty(), "invariant_next_due_is_never_missed: nothing is due at {next}");
    let early = next.checked_sub(1).map(|before| cluster.due(before)).unwrap_or_default();
    assert!(early.is_empty(), "invariant_next_due_is_never_missed: {early:?} is due before {next}");
}

/// Nobody else believes in a lease when its task is granted anew, but who is just being told to stop. A process that stands
/// still believes nothing; it will find its lease gone when it goes on.
pub fn check_grants(ledger: &mut Ledger, workers: &[Worker], now: Time) {
    for told in std::mem::take(&mut ledger.new_grants) {
        for worker in workers.iter().filter(|worker| !worker.is_paused(now)) {
            for held in worker.holdings().filter(|held| !held.fenced && held.lease.task == told.lease.task) {
                let rightly = held.lease.attempt >= told.lease.attempt || ledger.is_revoked(&worker.name, &held.lease);
                assert!(rightly, "invariant_nobody_else_believes_in_a_lease: {told:?}, and {} {held:?}", worker.name);
            }
        }
    }
}

/// No two processes are at the same attempt.
pub fn check_holdings(workers: &[Worker]) {
    let mut held = BTreeMap::new();
    for worker in workers {
        for holding in worker.holdings() {
            let key = (holding.lease.task.clone(), holding.lease.attempt);
            let other = held.insert(key, worker.name.clone());
            assert!(other.is_none(), "invariant_a_lease_is_held_once: {holding:?} by {} and {other:?}", worker.name);
        }
    }
}
