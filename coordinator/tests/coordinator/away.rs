//! A disk that fails for a while, and artifacts that get lost.

use crate::bytes;
use crate::running::Running;
use crate::worker::{Worker, digest, runs, stored};
use proto::v1::{self, JobPhase};
use std::fs;

const SOUP: &str = "average: [{soup: {of: seeds, force: true}}]";

/// The average of both members has nowhere to be written to; everything it is made of is there.
#[tokio::test]
async fn a_disk_that_fails_is_waited_for_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let job = coordinator.submit(SOUP).await;
    let mut worker = Worker::join(&coordinator, "w").await;
    let lease = second_training(&mut worker).await;
    let key = lease.key.clone().unwrap();
    let run = runs(&lease)[0];
    let model = worker.upload(&bytes::model(run as f32)).await;

    let temporary = folder.path().join("artifacts/temporary");
    fs::remove_dir(&temporary).unwrap();
    worker.say(stored(&key, run, model)).await;
    worker.say(v1::from_worker::Message::Finished(v1::TaskFinished { key: Some(key), artifact: None })).await;
    let text = coordinator.log_says(&job, "waiting").await;
    assert!(text.contains("free space") && text.contains("temporary"), "{text}");
    fs::create_dir(&temporary).unwrap();
    coordinator.log_says(&job, "going on").await;

    assert_eq!(worker.work_until(coordinator.to_its_end(&job)).await.phase(), JobPhase::Done);
    coordinator.stop().await;
}

/// The first member's model is found damaged, or gone, when the average is made of it: its training is done again.
#[tokio::test]
async fn a_lost_model_is_made_again_and_the_job_goes_on() {
    for damage in [Some("damaged"), None] {
        let folder = tempfile::tempdir().unwrap();
        let coordinator = Running::start(folder.path()).await;
        let job = coordinator.submit(SOUP).await;
        let mut worker = Worker::join(&coordinator, "w").await;
        let first = worker.training().await;
        let content = bytes::model(runs(&first)[0] as f32);
        worker.carry_out(first).await;
        // Once there is a second, the first has taken effect.
        let second = worker.training().await;
        let model = digest(&content);
        let file = folder.path().join("artifacts").join(&model[..2]).join(&model);
        match damage {
            Some(damage) => fs::write(&file, damage).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        worker.carry_out(second).await;
        assert_eq!(worker.work_until(coordinator.to_its_end(&job)).await.phase(), JobPhase::Done);
        assert_eq!(fs::read(&file).unwrap(), content, "a new upload repairs it");
        coordinator.stop().await;
    }
}

/// Does all that comes before the second training.
async fn second_training(worker: &mut Worker) -> v1::Lease {
    let first = worker.training().await;
    worker.carry_out(first).await;
    worker.training().await
}
