//! One simulated cluster: a coordinator with its journal on disk, workers, a user, and what befalls them.

use super::crew::ScriptedCrew;
use super::oracle::Oracle;
use super::weather::{CLEARS_UP_AFTER, Fault, Weather};
use super::wires::{COORDINATOR, dial, incoming};
use coordinator::driver::Place;
use coordinator::{Coordinator, Settings};
use ensemble::job::Job;
use proto::v1::jobs_client::JobsClient;
use proto::v1::{DescribeModelsRequest, GetReportRequest, JobPhase, ListJobsRequest, SubmitRequest};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::{Endpoint, Uri};
use turmoil::{Builder, Sim};
use worker::{Config, Device, Gate, Outbox, Parts, Patience};

const JOB: &str = "name: shapes\ndata: {format: idx, path: /data}\nmodel: {architecture: mlp}\n\
                   train: {epochs: 6, pack: 1}\nmembers: [{seeds: {count: 5}}]";
/// The workers' hosts.
pub const WORKERS: [&str; 3] = ["worker-0", "worker-1", "worker-2"];
/// With everything healed, the job is done within this time, or never.
const DONE_WITHIN: Duration = Duration::from_secs(600);
/// What the user sees at the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The digests of the ensemble's models.
    pub digests: Vec<String>,
    /// The report.
    pub report: String,
}

/// How a simulation went.
pub struct Record {
    pub outcome: Outcome,
    pub faults: BTreeMap<Fault, usize>,
    pub oracle: Oracle,
}

/// Simulates one cluster until its job is done, with faults drawn from the seed if there are to be any.
pub fn simulate(seed: u64, faulty: bool) -> Record {
    fastrand::seed(seed);
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (oracle, seen) = (Oracle::default(), Rc::new(RefCell::new(None)));
    let mut sim = Builder::new()
        .simulation_duration(CLEARS_UP_AFTER + DONE_WITHIN)
        .tick_duration(Duration::from_millis(5))
        .max_message_latency(Duration::from_millis(20))
        .rng_seed(seed)
        .build();
    add_coordinator(&mut sim, folder.path());
    WORKERS.into_iter().for_each(|name| add_worker(&mut sim, name, oracle.clone()));
    add_user(&mut sim, Rc::clone(&seen));
    let mut weather = if faulty { Weather::foul(seed) } else { Weather::fair() };
    while !sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
        weather.blow(&mut sim);
    }
    let outcome = seen.take().unwrap_or_else(|| panic!("seed {seed}: the user saw no end"));
    Record { outcome, faults: weather.counts, oracle }
}

fn add_coordinator(sim: &mut Sim<'_>, folder: &Path) {
    let folder = folder.to_owned();
    sim.host("coordinator", move || {
        let settings = Settings { driver: Place::Task, ..Settings::new(folder.clone()) };
        async move {
            let coordinator = Coordinator::open(settings).await?;
            coordinator.run_on(incoming().await?, std::future::pending()).await?;
            Ok(())
        }
    });
}

fn add_worker(sim: &mut Sim<'_>, name: &'static str, oracle: Oracle) {
    let processes = Rc::new(RefCell::new(0));
    sim.host(name, move || {
        *processes.borrow_mut() += 1;
        let process = format!("{name}, process {}", processes.borrow());
        let (gate, outbox, oracle) = (Gate::shut(), Outbox::default(), oracle.clone());
        async move {
            let crew = ScriptedCrew::new(process, outbox.clone(), gate.clone(), oracle);
            let parts = Parts { crew, outbox, gate, dial: |endpoint| Box::pin(dial(endpoint)) };
            worker::keep(&config(name), parts, || (), std::pin::pin!(std::future::pending())).await?;
            Ok(())
        }
    });
}

/// Of this, the keeper of a session reads the names, the devices and the limits; the rest is for engines.
fn config(name: &str) -> Config {
    Config {
        coordinators: vec![Uri::from_static(COORDINATOR)],
        name: name.to_owned(),
        data_dir: PathBuf::new(),
        devices: vec![Device::Cpu],
        threads_per_slot: 1,
        cache_bytes: 0,
        engine: PathBuf::new(),
        artifacts: None,
        drain: Duration::from_secs(20),
        away_limit: Duration::from_secs(600),
        patience: Patience { stall: Duration::MAX, step: Duration::MAX },
    }
}

fn add_user(sim: &mut Sim<'_>, seen: Rc<RefCell<Option<Outcome>>>) {
    sim.client("user", async move {
        let submit = SubmitRequest { idempotency_key: "once".into(), job_json: Job::parse(JOB, &[])?.to_json() };
        let job = insist(|| async { Ok(jobs().await?.submit(submit.clone()).await?.into_inner().job) }).await;
        loop {
            let listed = insist(|| async { Ok(jobs().await?.list_jobs(ListJobsRequest {}).await?.into_inner().jobs) });
            let listed = listed.await;
            assert_eq!(listed.len(), 1, "one key is one job, and an acknowledged one is never lost");
            match listed[0].phase() {
                JobPhase::Running => sleep(Duration::from_secs(1)).await,
                JobPhase::Done => break,
                phase => panic!("{phase:?}: {}", listed[0].detail),
            }
        }
        let describe = DescribeModelsRequest { job: job.clone(), what: "ensemble".into() };
        let models =
            insist(|| async { Ok(jobs().await?.describe_models(describe.clone()).await?.into_inner().models) });
        let digests = models.await.into_iter().map(|model| model.digest).collect();
        let request = GetReportRequest { job };
        let report = insist(|| async { Ok(jobs().await?.get_report(request.clone()).await?.into_inner().report_json) });
        seen.replace(Some(Outcome { digests, report: report.await }));
        Ok(())
    });
}

async fn jobs() -> Result<JobsClient<tonic::transport::Channel>, Status> {
    let channel = dial(Endpoint::from_static(COORDINATOR)).await;
    Ok(JobsClient::new(channel.map_err(|error| Status::unavailable(error.to_string()))?))
}

/// A user who gets no answer asks again.
async fn insist<T, F: Future<Output = Result<T, Status>>>(attempt: impl Fn() -> F) -> T {
    loop {
        if let Ok(Ok(done)) = timeout(Duration::from_secs(5), attempt()).await {
            return done;
        }
        sleep(Duration::from_millis(500)).await;
    }
}
