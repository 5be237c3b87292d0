//! The plan of a history: what users do and what goes wrong, and when. It is drawn from the seed before anything happens,
//! so that a failing history can be told again with a part of it left out.

use super::agenda::Time;
use super::defect::Defect;
use super::jobs;
use super::random::Random;
use ensemble::cluster::FailureClass;

/// Something that is done to the world at a set time.
#[derive(Clone, Debug)]
pub enum Action {
    Submit {
        kind: usize,
        seed: u64,
        priority: u8,
        namespace: u64,
        key: u64,
    },
    SetShare {
        namespace: u64,
        weight: u32,
    },
    /// Cancels one of the jobs that users know of.
    Cancel {
        pick: u64,
    },
    Drain {
        worker: usize,
    },
    Reinstate {
        worker: usize,
    },
    /// SIGKILL, and a new process some time later.
    CrashWorker {
        worker: usize,
        down_ms: Time,
    },
    /// SIGTERM, and a new process some time later.
    StopWorker {
        worker: usize,
        down_ms: Time,
    },
    /// SIGSTOP, and SIGCONT some time later.
    PauseWorker {
        worker: usize,
        for_ms: Time,
    },
    /// SIGKILL, and a new process some time later.
    CrashCoordinator {
        down_ms: Time,
        set_back_ms: u64,
        /// Not at once, but in the middle of the next write to the journal.
        writing: bool,
    },
    PauseCoordinator {
        for_ms: Time,
    },
    ResetConnection {
        worker: usize,
    },
    CutLink {
        worker: usize,
        up: bool,
        down: bool,
        for_ms: Time,
    },
    SlowLink {
        worker: usize,
        by_ms: Time,
        for_ms: Time,
    },
    RepeatReports {
        worker: usize,
        for_ms: Time,
    },
    FillDisk {
        for_ms: Time,
    },
    /// One of the tasks at work fails.
    FailTask {
        pick: u64,
        class: FailureClass,
    },
    /// One of the artifacts that jobs refer to is damaged.
    Damage {
        pick: u64,
    },
    /// Garbage is collected.
    Collect,
}

/// What the world is made of, and what will happen to it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// What the programs do wrong: nothing, but for those who want to see it found.
    pub defect: Option<Defect>,
    pub workers: Vec<WorkerPlan>,
    /// In order of time.
    pub actions: Vec<(Time, Action)>,
    /// When faults stop.
    pub calm_at: Time,
    /// When the last job must have ended.
    pub end_by: Time,
}

/// What a worker is like.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    pub slots: usize,
    /// Thousandths.
    pub drift: i64,
    pub pace: Time,
    pub direct: bool,
}

/// The lease of the clusters here is the project's own.
pub const LEASE_MS: Time = 15_000;

impl Plan {
    /// The history of a seed: most are of a few workers, every 40th of dozens, and every 500th of thousands.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        match seed {
            _ if seed % 500 == 499 => Self::large(seed, &mut random),
            _ if seed % 40 == 39 => Self::drawn(seed, 24, 10, &mut random),
            _ => Self::drawn(seed, 5, 5, &mut random),
        }
    }

    fn drawn(seed: u64, workers_max: u64, jobs_max: u64, random: &mut Random) -> Self {
        let workers: Vec<_> = (0..random.within(2, workers_max)).map(|_| WorkerPlan::drawn(random)).collect();
        let calm_at = random.within(60_000, 240_000);
        let mut actions = submissions(random.within(1, jobs_max), calm_at, random);
        actions.extend(faults(&workers, calm_at, random));
        if random.one_in(4) {
            let encore = encore(&actions, calm_at, random);
            actions.extend(encore);
        }
        actions.sort_by_key(|(at, _)| *at);
        Self { seed, defect: None, workers, actions, calm_at, end_by: calm_at + 7_200_000 }
    }

    /// Thousands of workers: what matters here is how much happens at once.
    fn large(seed: u64, random: &mut Random) -> Self {
        let workers: Vec<_> = (0..random.within(1_000, 2_000)).map(|_| WorkerPlan::drawn(random)).collect();
        let calm_at = 60_000;
        let mut actions: Vec<_> =
            (0..4).map(|key| (random.below(5_000), submit(jobs::COUNT, key, key, random))).collect();
        actions.extend(faults(&workers, calm_at, random));
        actions.extend((0..workers.len() / 20).map(|_| {
            let worker = random.below(workers.len() as u64) as usize;
            (random.below(calm_at), Action::CrashWorker { worker, down_ms: random.within(500, 30_000) })
        }));
        actions.sort_by_key(|(at, _)| *at);
        Self { seed, defect: None, workers, actions, calm_at, end_by: calm_at + 3_600_000 }
    }

    /// One job, one worker, and nothing that goes wrong.
    pub fn undisturbed() -> Self {
        let workers = vec![WorkerPlan { slots: 4, drift: 0, pace: 400, direct: true }];
        Self { seed: 0, defect: None, workers, actions: Vec::new(), calm_at: 0, end_by: 3_600_000 }
    }
}

impl WorkerPlan {
    fn drawn(random: &mut Random) -> Self {
        let drift = if random.one_in(2) { random.within(0, 100) as i64 - 50 } else { 0 };
        Self { slots: random.within(1, 3) as usize, drift, pace: random.within(150, 1_500), direct: random.one_in(2) }
    }
}

fn submissions(count: u64, calm_at: Time, random: &mut Random) -> Vec<(Time, Action)> {
    let one = |_| {
        let (kind, seed) = (random.below(jobs::COUNT as u64) as usize, random.below(3));
        // Keys come twice now and then: with the same job, or with another.
        let key = random.below(count * 2);
        (random.below(calm_at / 2), submit(kind, seed, key, random))
    };
    (0..count).map(one).collect()
}

fn submit(kind: usize, seed: u64, key: u64, random: &mut Random) -> Action {
    let priority = if random.one_in(3) { *random.pick(&[20, 80, 99]) } else { 50 };
    Action::Submit { kind, seed, priority, namespace: random.below(2), key }
}

/// Long after all is done, garbage is collected, artifacts of finished jobs are damaged, and jobs like the first are
/// submitted, which find some of what they make in the store.
fn encore(actions: &[(Time, Action)], calm_at: Time, random: &mut Random) -> Vec<(Time, Action)> {
    let begin = calm_at + 2_000_000;
    let again = |(_, action): &(Time, Action)| match action {
        &Action::Submit { kind, seed, priority, namespace, key } => {
            Some(Action::Submit { kind, seed, priority, namespace, key: key + 1_000 })
        }
        _ => None,
    };
    let mut encore = vec![(begin, Action::Collect), (begin + 90_000, Action::Collect)];
    let submissions: Vec<_> = actions.iter().filter_map(again).take(2).collect();
    encore.extend(submissions.into_iter().map(|action| (begin + random.below(60_000), action)));
    encore.extend((0..3).map(|_| (begin + random.below(100_000), Action::Damage { pick: random.next() })));
    encore
}

/// What goes wrong. Each history has its own taste for the kinds of fault, so that some have many of one kind.
fn faults(workers: &[WorkerPlan], calm_at: Time, random: &mut Random) -> Vec<(Time, Action)> {
    let taste: Vec<u64> = (0..KINDS).map(|_| if random.one_in(3) { 0 } else { random.within(1, 10) }).collect();
    let whole: u64 = taste.iter().sum();
    let count = if whole == 0 { 0 } else { random.within(3, 40) };
    let mut drawn = Vec::new();
    for _ in 0..count {
        let at = random.below(calm_at);
        let mut point = random.below(whole);
        let kind = taste.iter().position(|&share| {
            let here = point < share;
            point = point.saturating_sub(share);
            here
        });
        let worker = random.below(workers.len() as u64) as usize;
        let kind = kind.expect("the point lies within the whole");
        drawn.push((at, fault(kind, worker, random)));
    }
    drawn
}

const KINDS: usize = 17;

fn fault(kind: usize, worker: usize, random: &mut Random) -> Action {
    // Now and then much longer than a lease, mostly shorter.
    let while_ms = |random: &mut Random| match random.below(4) {
        0 => random.within(LEASE_MS, LEASE_MS * 4),
        1 => random.within(LEASE_MS / 2, LEASE_MS * 3 / 2),
        _ => random.within(100, LEASE_MS / 2),
    };
    match kind {
        0 => Action::CrashWorker { worker, down_ms: while_ms(random) },
        1 => Action::StopWorker { worker, down_ms: while_ms(random) },
        2 => Action::PauseWorker { worker, for_ms: while_ms(random) },
        3 => {
            let set_back_ms = if random.one_in(3) { random.within(1, 20_000) } else { 0 };
            Action::CrashCoordinator { down_ms: while_ms(random), set_back_ms, writing: random.one_in(2) }
        }
        4 => Action::PauseCoordinator { for_ms: while_ms(random) },
        5 => Action::ResetConnection { worker },
        6 => Action::CutLink { worker, up: true, down: true, for_ms: while_ms(random) },
        7 => {
            let up = random.one_in(2);
            Action::CutLink { worker, up, down: !up, for_ms: while_ms(random) }
        }
        8 => Action::SlowLink { worker, by_ms: random.within(100, 9_000), for_ms: while_ms(random) },
        9 => Action::RepeatReports { worker, for_ms: 30_000 },
        10 => Action::FillDisk { for_ms: while_ms(random) },
        11 | 14 => Action::FailTask { pick: random.next(), class: class(random) },
        12 if random.one_in(3) => Action::Cancel { pick: random.next() },
        12 => Action::Reinstate { worker },
        13 => Action::Drain { worker },
        15 => Action::Damage { pick: random.next() },
        _ if random.one_in(2) => Action::Collect,
        _ => Action::SetShare { namespace: random.below(2), weight: random.within(1, 4) as u32 },
    }
}

fn class(random: &mut Random) -> FailureClass {
    let classes = [
        FailureClass::EngineLost,
        FailureClass::OutOfMemory,
        FailureClass::Device,
        FailureClass::Infrastructure,
        FailureClass::EngineLost,
        FailureClass::Device,
    ];
    match random.below(20) {
        0 => FailureClass::User,
        1 => FailureClass::Data,
        _ => *random.pick(&classes),
    }
}
