//! What stays in the store after a job.

use crate::bytes;
use crate::running::Running;
use crate::worker::{Worker, runs};
use coordinator::Settings;
use ensemble::cluster::Command;
use ensemble::id::Digest;
use proto::v1::from_worker::Message;
use proto::v1::{self, JobPhase};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The names of all artifacts.
fn stored(data_dir: &Path) -> BTreeSet<String> {
    let folders = fs::read_dir(data_dir.join("artifacts")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// A job that is done needs no checkpoints. One of two is pinned; an upload was never reported.
#[tokio::test]
async fn after_a_job_only_what_is_needed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { artifact_age_min: Duration::ZERO, ..Settings::new(folder.path().to_owned()) };
    let (coordinator, shared) = Running::start_with(settings).await;
    let job = coordinator.submit("average: [{soup: {of: seeds, force: true}}]\nserve: {}").await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let training = worker.training().await;
    let mut checkpoints = Vec::new();
    for step in [1, 2] {
        let artifact = worker.upload(format!("a checkpoint of step {step}").as_bytes()).await;
        checkpoints.push(artifact.digest.clone());
        let (key, run, artifact) = (training.key.clone(), runs(&training)[0], Some(artifact));
        worker.say(Message::Checkpoint(v1::CheckpointStored { key, run, step, artifact, branch: None })).await;
    }
    worker.carry_out(training).await;
    assert_eq!(worker.work_until(coordinator.to_its_end(&job)).await.phase(), JobPhase::Done);
    let forgotten = worker.upload(b"never reported").await.digest;
    let pinned = Digest::try_from(checkpoints[0].clone()).unwrap();
    shared.driver.apply(Command::Pin { digest: pinned }).await.unwrap();

    let before = stored(folder.path());
    let garbage = BTreeSet::from([checkpoints[1].clone(), forgotten]);
    let dry = shared.collector.collect(true).await.unwrap();
    let named: BTreeSet<_> = dry.removed.iter().map(|artifact| artifact.digest.to_string()).collect();
    assert_eq!((&named, stored(folder.path())), (&garbage, before.clone()), "a dry run removes nothing");
    let collected = shared.collector.collect(false).await.unwrap();
    assert_eq!(collected, dry, "what it said is what is removed");
    assert_eq!(stored(folder.path()), before.difference(&garbage).cloned().collect());

    let what_is_served = [bytes::model(0.0), bytes::model(1.0), bytes::model(0.5)];
    for model in what_is_served {
        assert!(stored(folder.path()).contains(&crate::worker::digest(&model)), "two members and their average");
    }
    assert_eq!(stored(folder.path()).len(), 3 + 3 + 1, "models, their predictions, and what is pinned");
    shared.driver.apply(Command::Unpin { digest: checkpoints.swap_remove(0).try_into().unwrap() }).await.unwrap();
    assert_eq!(shared.collector.collect(false).await.unwrap().removed_count, 1);
    coordinator.stop().await;
}
