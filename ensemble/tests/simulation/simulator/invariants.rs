//! Sentences that hold after every event, about what the cluster shows and what the workers do.

use super::agenda::Time;
use super::env::Env;
use super::ledger::Ledger;
use super::training;
use super::worker::Worker;
use ensemble::cluster::{Cluster, Command, Effect, Millis};
use ensemble::id::{Digest, JobId, TaskId, WorkerId};
use ensemble::view::{JobView, MemberState, Phase, Standing, TaskState, TaskView, WorkerState, WorkerView};
use std::collections::{BTreeMap, BTreeSet};

/// In worlds of fewer workers than this, the cluster is looked at after every command; in others now and then.
const EVERY_COMMAND: usize = 45;

/// What a cluster shows, taken once for all sentences.
struct Shown {
    jobs: BTreeMap<JobId, JobView>,
    tasks: Vec<TaskView>,
    workers: BTreeMap<WorkerId, WorkerView>,
}

impl Shown {
    fn of(cluster: &Cluster) -> Self {
        let jobs = cluster.jobs();
        let tasks = jobs.iter().flat_map(|job| cluster.tasks(&job.id).expect("the job was just shown")).collect();
        Self {
            jobs: jobs.into_iter().map(|job| (job.id.clone(), job)).collect(),
            tasks,
            workers: cluster.workers().into_iter().map(|worker| (worker.id.clone(), worker)).collect(),
        }
    }

    fn job(&self, task: &TaskId) -> &JobView {
        let job = task.job().and_then(|job| self.jobs.get(&job));
        job.expect("tasks are shown with their jobs")
    }

    fn is_active(&self, worker: &WorkerId) -> bool {
        let worker = self.workers.get(worker);
        worker.is_some_and(|worker| worker.state == WorkerState::Connected && worker.standing == Standing::Active)
    }

    /// Train tasks in a state.
    fn training(&self, state: TaskState) -> impl Iterator<Item = &TaskView> {
        self.tasks.iter().filter(move |task| task.state == state && task.id.as_str().contains("/train/"))
    }
}

/// Looks at the cluster after a command: every time in small worlds, now and then in large ones.
pub fn look(cluster: &Cluster, env: &mut Env, command: &Command, effects: &[Effect], now: Millis) {
    let size = env.ledger.size;
    if size >= EVERY_COMMAND && !env.ledger.changes.is_multiple_of(1 + (size * size / 2_000) as u64) {
        return;
    }
    let shown = Shown::of(cluster);
    let ledger = &mut env.ledger;
    invariant_a_slot_holds_at_most_one_lease_and_shows_it(&shown);
    invariant_attempts_grow_and_what_is_done_stays_done(&shown, ledger);
    invariant_an_ended_job_holds_no_leases(&shown, ledger);
    invariant_every_member_of_a_done_job_is_scored_or_lost(&shown, cluster, ledger);
    invariant_no_slot_waits_beside_a_ready_task(&shown, ledger);
    invariant_budgets_are_kept(&shown, cluster);
    invariant_shares_count_busy_slots(&shown, cluster);
    invariant_only_active_workers_are_granted_tasks(&shown, effects);
    invariant_what_is_kept_is_the_newest_lease(&shown, effects);
    invariant_only_the_more_urgent_preempt(&shown, command, effects);
    invariant_the_more_urgent_do_not_wait_for_the_less(&shown, ledger);
    invariant_next_due_is_the_moment_at_which_something_is_due(cluster, now);
    ledger.invariant_what_was_promised_is_remembered(cluster);
    invariant_references_are_in_the_store(cluster, env, effects);
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
    let slots = shown.workers.values().flat_map(|worker| worker.slots.iter().map(|slot| (worker.id.clone(), slot)));
    let at_work: BTreeMap<_, _> =
        slots.filter_map(|(worker, slot)| Some(((worker, slot.index), slot.task.clone()?))).collect();
    assert_eq!(at_work, leases, "invariant_a_lease_is_held_by_the_slot_that_shows_it");
}

fn invariant_attempts_grow_and_what_is_done_stays_done(shown: &Shown, ledger: &mut Ledger) {
    let damaged = ledger.damaged;
    let epoch = ledger.epoch();
    for task in &shown.tasks {
        let before = epoch.attempts.insert(task.id.clone(), task.attempt).unwrap_or(0);
        assert!(before <= task.attempt, "invariant_attempts_grow: {task:?} was at attempt {before}");
        match task.state {
            TaskState::Done => drop(epoch.done.insert(task.id.clone())),
            _ if damaged => {}
            _ => assert!(!epoch.done.contains(&task.id), "invariant_what_is_done_stays_done: {task:?}"),
        }
    }
}

/// But one that is done may have what was damaged made again.
fn invariant_an_ended_job_holds_no_leases(shown: &Shown, ledger: &Ledger) {
    let over = [TaskState::Done, TaskState::Failed, TaskState::Withdrawn];
    for task in shown.tasks.iter().filter(|task| !over.contains(&task.state)) {
        let job = shown.job(&task.id);
        let open = job.ended_ms.is_none() || ledger.damaged && job.phase == Phase::Done;
        assert!(open, "invariant_an_ended_job_holds_no_leases: {task:?}");
    }
}

fn invariant_every_member_of_a_done_job_is_scored_or_lost(shown: &Shown, cluster: &Cluster, ledger: &Ledger) {
    let name = "invariant_every_member_of_a_done_job_is_scored_or_lost";
    for job in shown.jobs.values().filter(|job| job.phase == Phase::Done && !ledger.damaged) {
        assert_eq!(job.members_ready + job.members_lost, job.members_total, "{name}: {job:?}");
        for member in cluster.members(&job.id).expect("the job is shown") {
            let scored = member.state == MemberState::Evaluated && member.test.is_some();
            assert!(scored || member.state == MemberState::Lost, "{name}: {member:?}");
        }
        for average in cluster.averages(&job.id).expect("the job is shown") {
            let settled = [MemberState::Evaluated, MemberState::Lost].contains(&average.state);
            assert!(settled, "{name}: {average:?}");
        }
    }
}

fn invariant_no_slot_waits_beside_a_ready_task(shown: &Shown, ledger: &mut Ledger) {
    // A slot that asked and has a task was answered. Who does not look after every command cannot tell.
    if ledger.size >= EVERY_COMMAND {
        return;
    }
    let slots = shown.workers.values().flat_map(|worker| worker.slots.iter().map(|slot| (worker.id.clone(), slot)));
    let busy: BTreeSet<_> =
        slots.filter(|(_, slot)| slot.task.is_some()).map(|(worker, slot)| (worker, slot.index)).collect();
    ledger.epoch().waiting.retain(|slot| !busy.contains(slot));
    let Some(ready) = shown.tasks.iter().find(|task| task.state == TaskState::Ready) else { return };
    let waiting = ledger.epoch().waiting.iter().find(|(worker, _)| shown.is_active(worker));
    assert!(waiting.is_none(), "invariant_no_slot_waits_beside_a_ready_task: {waiting:?} and {}", ready.id);
}

fn invariant_budgets_are_kept(shown: &Shown, cluster: &Cluster) {
    let settings = cluster.settings();
    let failures_max = settings.restarts_max + settings.memory_restarts_max;
    for task in shown.tasks.iter().filter(|task| task.state != TaskState::Failed) {
        let kept = task.failures <= failures_max && task.losses <= settings.losses_max;
        assert!(kept, "invariant_budgets_are_kept: {task:?}");
    }
}

fn invariant_shares_count_busy_slots(shown: &Shown, cluster: &Cluster) {
    let mut busy = BTreeMap::new();
    for task in shown.tasks.iter().filter(|task| task.state == TaskState::Leased) {
        *busy.entry(shown.job(&task.id).namespace.clone()).or_insert(0) += 1;
    }
    for share in cluster.shares() {
        let counted = busy.get(&share.namespace).copied().unwrap_or(0);
        assert_eq!(share.slots_busy, counted, "invariant_shares_count_busy_slots: {share:?}");
    }
}

fn invariant_only_active_workers_are_granted_tasks(shown: &Shown, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Grant { worker, lease, .. } = effect {
            let active = shown.is_active(worker);
            assert!(
                active,
                "invariant_only_active_workers_are_granted_tasks: {lease:?}: {:?}",
                shown.workers.get(worker)
            );
        }
    }
}

fn invariant_what_is_kept_is_the_newest_lease(shown: &Shown, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Kept { worker, slot, lease } = effect {
            let task = shown.tasks.iter().find(|task| task.id == lease.task);
            let at = Some((worker.clone(), *slot));
            let newest = task.is_some_and(|task| task.attempt == lease.attempt && task.at == at);
            assert!(newest, "invariant_what_is_kept_is_the_newest_lease: {effect:?}: {task:?}");
        }
    }
}

/// A worker that works for all is asked for a task only while a more urgent one waits.
fn invariant_only_the_more_urgent_preempt(shown: &Shown, command: &Command, effects: &[Effect]) {
    if matches!(command, Command::Join { .. }) {
        return; // What was asked for before is asked for again.
    }
    for effect in effects {
        if let Effect::Yield { worker, lease } = effect {
            let priority = shown.job(&lease.task).priority;
            let urgent = shown.training(TaskState::Ready).any(|task| shown.job(&task.id).priority > priority);
            let rightly = urgent || !shown.is_active(worker);
            assert!(rightly, "invariant_only_the_more_urgent_preempt: {lease:?} of {worker} after {command:?}");
        }
    }
}

/// As many slots are coming free as more urgent tasks wait, as long as a less urgent one is at work.
fn invariant_the_more_urgent_do_not_wait_for_the_less(shown: &Shown, ledger: &mut Ledger) {
    let asked =
        |task: &TaskView, ledger: &mut Ledger| ledger.epoch().asked_for.contains(&(task.id.clone(), task.attempt));
    let (mut coming, mut least) = (0, None);
    for worker in shown.workers.values().filter(|worker| shown.is_active(&worker.id)) {
        coming += worker.slots.iter().filter(|slot| slot.task.is_none()).count();
    }
    for task in shown.tasks.iter().filter(|task| task.at.as_ref().is_some_and(|(worker, _)| shown.is_active(worker))) {
        if asked(task, ledger) {
            coming += 1;
        } else if task.id.as_str().contains("/train/") {
            let priority = shown.job(&task.id).priority;
            least = Some(least.unwrap_or(priority).min(priority));
        }
    }
    let Some(least) = least else { return };
    let urgent = shown.training(TaskState::Ready).filter(|task| shown.job(&task.id).priority > least).count();
    let name = "invariant_the_more_urgent_do_not_wait_for_the_less";
    assert!(urgent <= coming, "{name}: {urgent} wait for {coming} slots, and one works at priority {least}");
}

/// What anybody will read is kept, and it is there, whole or damaged.
fn invariant_references_are_in_the_store(cluster: &Cluster, env: &Env, effects: &[Effect]) {
    let references = cluster.references();
    for effect in effects {
        for digest in read_for(effect) {
            assert!(references.contains(&digest), "invariant_what_is_handed_out_is_kept: {digest} of {effect:?}");
        }
    }
    let missing = references.iter().find(|digest| env.store.get(digest).is_none());
    assert!(missing.is_none(), "invariant_references_are_in_the_store: {missing:?}");
}

fn read_for(effect: &Effect) -> Vec<Digest> {
    match effect {
        Effect::Grant { work, .. } => training::inputs(work),
        Effect::Average { models, .. } => models.iter().map(|model| model.digest.clone()).collect(),
        Effect::Combine { members, averages, .. } => {
            members.iter().chain(averages).map(|of| of.predictions.digest.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// Two clusters are the same but for heartbeats, which are not written down: both count every worker as heard of now.
pub fn invariant_both_are_the_same(what: &str, one: &Cluster, other: &Cluster) {
    let (one, other) = (without_heartbeats(one), without_heartbeats(other));
    if one != other {
        let at = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count().saturating_sub(200);
        let part = |text: &str| text.chars().skip(at).take(400).collect::<String>();
        panic!("invariant_both_are_the_same: {what}:\n{}\n{}", part(&one), part(&other));
    }
}

fn without_heartbeats(cluster: &Cluster) -> String {
    let mut state = serde_json::to_value(cluster.snapshot()).expect("the state is maps, numbers and strings");
    forget_heartbeats(&mut state);
    state.to_string()
}

fn forget_heartbeats(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove("heard");
            fields.remove("alive");
            fields.values_mut().for_each(forget_heartbeats);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(forget_heartbeats),
        _ => {}
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
