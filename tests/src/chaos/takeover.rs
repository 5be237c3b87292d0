//! Two coordinators on one database and one store. Whoever leads dies, sleeps, drains, or loses the database for a while;
//! the other one goes on, with the workers as they are.

use super::database::Database;
use super::fleet::{WORKERS, coordinator_of, free_addresses, worker_of};
use super::jobs::{Kind, Order, Outcome, is_done};
use super::observer::{Observer, Training};
use super::process::Process;
use super::tally::Spread;
use super::wait::{patiently, wait_until};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// What a coordinator ends with that another has replaced.
const DEPOSED: i32 = 3;
/// A leader that is stopped for so long has been replaced.
const SLEEP: Duration = Duration::from_secs(6);
/// How long the database is away.
const OUTAGE: Duration = Duration::from_secs(2);
/// Jobs at once.
const JOBS_AT_ONCE: usize = 2;
/// Entries that stand before one of an older leader: there must be none.
const OUT_OF_ORDER: &str = "SELECT count(*) FROM (SELECT epoch, lag(epoch) OVER (ORDER BY sequence) AS before \
     FROM tutti.entries) pairs WHERE before > epoch";
/// A lead lasts for 4 s from each renewal, and an outage takes longer than the rest of it.
const HOLDER: &str = "SELECT holder FROM tutti.leader WHERE expires > clock_timestamp() + interval '2500 ms'";
const CUT_CONNECTIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";

/// What happens to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// It dies.
    Kill,
    /// It is stopped for longer than its lead lasts, and goes on.
    Freeze,
    /// It is asked to stop.
    Drain,
    /// Its database dies, and is started again.
    KillDatabase,
    /// Its connections to the database are cut.
    CutDatabase,
}

impl Blow {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Freeze, Self::Drain, Self::KillDatabase, Self::CutDatabase];
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Takeovers {
    /// How often each happened.
    pub blows: BTreeMap<Blow, usize>,
    /// Trainings that went on under their lease while the lead changed hands, and those that were granted anew.
    pub kept: usize,
    /// See [`Takeovers::kept`].
    pub anew: usize,
    /// Jobs that ended as they do undisturbed.
    pub jobs: usize,
    /// From each blow that ended a lead until the other coordinator had a worker in session, in seconds.
    pub seconds: BTreeMap<Blow, Vec<f64>>,
}

/// Deals every blow so many times, in an order that the seed gives, and panics unless everything is as it must be. None
/// where there is no PostgreSQL.
pub fn takeovers(seed: u64, rounds: usize) -> Option<Takeovers> {
    let database = Database::start()?;
    let folder = tempfile::Builder::new().prefix("tutti-takeover").tempdir().unwrap();
    let mut pair = Pair::start(folder.path(), database);
    let baseline = pair.run_baseline();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..rounds {
        let mut blows = Blow::ALL;
        random.shuffle(&mut blows);
        for blow in blows {
            let pause = Instant::now() + Duration::from_millis(random.u64(500..1500));
            while Instant::now() < pause {
                pair.look_around(&baseline, JOBS_AT_ONCE);
            }
            pair.deal(blow);
        }
    }
    wait_until("every job is done", || {
        pair.look_around(&baseline, 0);
        pair.running.is_empty()
    });
    Some(pair.finish())
}

struct Pair {
    database: Database,
    coordinators: Vec<Process>,
    observers: Vec<Observer>,
    workers: Vec<Process>,
    /// Which of the two leads.
    leader: usize,
    folder: PathBuf,
    data: PathBuf,
    submitted: usize,
    running: Vec<Order>,
    takeovers: Takeovers,
    _runtime: Runtime,
}

impl Pair {
    fn start(folder: &Path, database: Database) -> Self {
        let data = folder.join("data");
        std::fs::create_dir(&data).unwrap();
        crate::cut_fashion_mnist(&data);
        let runtime = Runtime::new().unwrap();
        let addresses: [SocketAddr; 2] = free_addresses();
        let coordinator = |(place, address): (usize, &SocketAddr)| {
            let name = format!("coordinator-{place}");
            coordinator_of(&name, folder, *address, &folder.join(&name))
                .with([("--database", database.url().to_owned())])
                .with([("--artifacts", folder.join("store").display().to_string())])
        };
        let urls = addresses.map(|address| format!("http://{address}")).join(",");
        let worker =
            |index| worker_of(&format!("worker-{index}"), folder, &urls, &folder.join(format!("worker-{index}")));
        let observer = |address: &SocketAddr| Observer::new(runtime.handle().clone(), &address.to_string());
        let mut pair = Self {
            coordinators: addresses.iter().enumerate().map(coordinator).collect(),
            observers: addresses.iter().map(observer).collect(),
            workers: (1..=WORKERS).map(worker).collect(),
            leader: 0,
            folder: folder.to_owned(),
            database,
            data,
            submitted: 0,
            running: Vec::new(),
            takeovers: Takeovers::default(),
            _runtime: runtime,
        };
        pair.coordinators[0].start();
        pair.coordinators[0].await_ready();
        pair.stand_by(1);
        pair.workers.iter_mut().for_each(Process::start);
        pair.leading().await_connected(WORKERS);
        pair
    }

    fn leading(&self) -> &Observer {
        &self.observers[self.leader]
    }

    /// Starts the coordinator that does not lead.
    fn stand_by(&mut self, place: usize) {
        let mark = self.coordinators[place].log.mark();
        self.coordinators[place].start();
        let log = &self.coordinators[place].log;
        wait_until("a coordinator stands by", || log.count(mark, &["standing by: another coordinator leads"]) > 0);
    }

    fn run_baseline(&mut self) -> BTreeMap<Kind, Outcome> {
        Kind::ALL.into_iter().for_each(|kind| self.submit(kind));
        let observer = &self.observers[self.leader];
        let outcome = |Order { kind, job }: Order| {
            wait_until(&format!("{job} is done undisturbed"), || is_done(observer.status(&job).job.as_ref().unwrap()));
            (kind, Outcome::of(observer, &job))
        };
        std::mem::take(&mut self.running).into_iter().map(outcome).collect()
    }

    fn submit(&mut self, kind: Kind) {
        self.running.push(Order::submit(self.leading(), kind, &self.data, self.submitted));
        self.submitted += 1;
    }

    /// Compares jobs that are done with the baseline, and has so many going on.
    fn look_around(&mut self, baseline: &BTreeMap<Kind, Outcome>, jobs: usize) {
        for order in std::mem::take(&mut self.running) {
            if is_done(self.leading().status(&order.job).job.as_ref().unwrap()) {
                let outcome = Outcome::of(self.leading(), &order.job);
                assert_eq!(outcome, baseline[&order.kind], "{} did not end as it does undisturbed", order.job);
                self.takeovers.jobs += 1;
            } else {
                self.running.push(order);
            }
        }
        while self.running.len() < jobs {
            self.submit(Kind::ALL[self.submitted % Kind::ALL.len()]);
        }
        sleep(Duration::from_millis(50));
    }

    fn deal(&mut self, blow: Blow) {
        let begin = Instant::now();
        eprintln!("{blow:?}, at coordinator-{}", self.leader);
        *self.takeovers.blows.entry(blow).or_default() += 1;
        let before = self.trainings();
        let old = self.leader;
        match blow {
            Blow::Kill => self.coordinators[old].kill(),
            Blow::Drain => self.coordinators[old].terminate(),
            Blow::Freeze => self.coordinators[old].freeze(),
            Blow::KillDatabase => return self.lose_database(),
            Blow::CutDatabase => {
                let cut: usize = self.database.ask(CUT_CONNECTIONS).parse().unwrap();
                assert!(cut > 0, "nobody was connected");
                return;
            }
        }
        self.take_over(1 - old);
        self.takeovers.seconds.entry(blow).or_default().push(begin.elapsed().as_secs_f64());
        if blow == Blow::Freeze {
            sleep(SLEEP.saturating_sub(begin.elapsed()));
            self.coordinators[old].thaw();
            assert_eq!(self.coordinators[old].ends().code(), Some(DEPOSED), "it was deposed");
        }
        self.leading().await_connected(WORKERS);
        self.count(&before);
        self.stand_by(old);
    }

    fn take_over(&mut self, next: usize) {
        wait_until("the other coordinator leads", || self.observers[next].answers());
        self.leader = next;
        self.leading().await_connected(1);
    }

    /// After an outage either may lead: the one before may not have been heard for as long as its lead lasted.
    fn lose_database(&mut self) {
        self.database.kill();
        sleep(OUTAGE);
        self.database.start_again();
        let (old, leader) = (self.leader, self.holder());
        if leader != old {
            assert_eq!(self.coordinators[old].ends().code(), Some(DEPOSED), "it was deposed");
            self.take_over(leader);
            self.stand_by(old);
        }
        self.leading().await_connected(WORKERS);
    }

    /// Who leads for some time yet: the one that has renewed the lead, or taken it, since the database came back.
    fn holder(&self) -> usize {
        let holder = patiently("a coordinator leads", || {
            let holder = self.database.ask(HOLDER);
            (!holder.is_empty()).then_some(holder)
        });
        let is_named_so = |place: &usize| {
            let instance = self.folder.join(format!("coordinator-{place}/data/instance"));
            std::fs::read_to_string(instance).is_ok_and(|name| name == holder)
        };
        (0..2).find(is_named_so).unwrap_or_else(|| panic!("{holder} leads, which is none of ours"))
    }

    fn trainings(&self) -> Vec<Training> {
        self.running.iter().flat_map(|order| self.leading().trainings(&order.job)).collect()
    }

    /// Sees which trainings went on under the lease that they had.
    fn count(&mut self, before: &[Training]) {
        for was in before {
            let status = self.leading().status(&was.job);
            let run = status.runs.iter().find(|run| run.run == was.run).unwrap();
            let kept = run.attempt == was.attempt;
            self.takeovers.kept += usize::from(kept);
            self.takeovers.anew += usize::from(!kept);
        }
    }

    fn finish(mut self) -> Takeovers {
        assert_eq!(self.leading().jobs().len(), self.submitted, "no acknowledged job is lost, and none is two jobs");
        assert_eq!(self.database.ask(OUT_OF_ORDER), "0", "a coordinator wrote that led no more");
        let deserted = self.coordinators.iter().chain(&self.workers).map(Process::deserted).sum::<usize>();
        assert_eq!(deserted, 0, "a process ended though nobody had asked for it");
        self.workers.iter_mut().for_each(Process::terminate);
        self.coordinators[1 - self.leader].terminate();
        self.coordinators[self.leader].terminate();
        self.takeovers
    }
}

impl fmt::Display for Takeovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blows, kept, anew, jobs, seconds } = self;
        writeln!(f, "{blows:?}: {jobs} jobs ended with the bits that they have undisturbed")?;
        writeln!(f, "trainings that went on under their lease: {kept}; granted anew: {anew}")?;
        for (blow, seconds) in seconds {
            writeln!(f, "{blow:?} until a worker is in session with the other coordinator, s: {}", Spread(seconds))?;
        }
        Ok(())
    }
}
