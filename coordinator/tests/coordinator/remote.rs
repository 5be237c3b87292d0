//! Artifacts in an S3 server that goes away for a while.

use crate::bytes;
use crate::process::Program;
use crate::proxy::{Mode, Proxy};
use crate::running::Running;
use crate::server::{SECRET_KEY, environment, serve};
use crate::worker::{Worker, runs, stored};
use proto::v1::JobPhase;
use std::fs;

/// The whole program, because credentials and the endpoint come from its environment. While it is waited for, the server
/// must be able to answer it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_a_store_that_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let (mut proxy, address) = Proxy::before(serve(folder.path()).await).await;
    let mut variables = environment(address, SECRET_KEY);
    variables.push(("TUTTI_ARTIFACTS".into(), "s3://bucket/tutti".into()));
    let mut program = Program::start_in(&folder.path().join("data"), "127.0.0.1:0", &variables);
    let address = program.ready().trim().trim_start_matches("listening on ").to_owned();
    let coordinator = Running::elsewhere(address).await;
    let job = coordinator.submit("average: [{soup: {of: seeds, force: true}}]").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let lease = worker.training().await;
    let (key, run) = (lease.key.clone().unwrap(), runs(&lease)[0]);
    let model = worker.upload(&bytes::model(run as f32)).await;
    proxy.set(Mode::Cut);
    worker.say(stored(&key, run, model)).await;
    let text = coordinator.log_says(&job, "waiting").await;
    assert!(text.contains("s3://bucket/tutti cannot be used at the moment"), "{text}");
    proxy.faults(1).await;
    proxy.set(Mode::Pass);
    worker.carry_out(lease).await;

    let end = worker.work_until(coordinator.to_its_end(&job)).await;
    assert_eq!((end.phase(), end.detail.as_str()), (JobPhase::Done, ""));
    let artifacts = fs::read_dir(folder.path().join("bucket/tutti/artifacts")).unwrap().count();
    assert_eq!(artifacts, 6, "two models, their average, and three files of predictions");
    assert_eq!(fs::read_dir(folder.path().join("data/artifacts")).unwrap().count(), 0);
}
