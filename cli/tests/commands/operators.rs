//! What operators do: drain, share, pin, collect, back up. And what everybody meets when the coordinator is away.

use super::coordinator::{Fake, JOB, Trouble, digest, model};
use super::{assert_fails, repository, stderr, stdout};
use std::fs;

#[test]
fn orders_reach_the_coordinator_and_are_confirmed() {
    let fake = Fake::start();
    let digest = digest();
    let orders: [(&[&str], String, String); 4] = [
        (&["reinstate", "worker-1"], "reinstate worker-1".into(), "worker worker-1 is given tasks again\n".into()),
        (&["share", "vision", "3"], "share vision 3".into(), "namespace vision has weight 3\n".into()),
        (&["pin", &digest], format!("pin {digest}"), format!("{digest} is pinned\n")),
        (&["unpin", &digest], format!("unpin {digest}"), format!("{digest} is not pinned any more\n")),
    ];
    for (arguments, asked, said) in &orders {
        assert_eq!(&stdout(&fake.run(arguments)), said);
        assert_eq!(fake.asked.take(), [asked.as_str()]);
    }
    // Of the two, one is at a task, and the other does not drain: another operator was quicker.
    let drain = stdout(&fake.run(&["drain", "worker-1"]));
    assert_eq!(drain, "worker worker-1 drains; `tutti get workers` shows what it is still at\n");
    assert_fails(&fake.run(&["drain", "worker-2", "--wait"]), 1, &["worker `worker-2` was reinstated"]);
    assert_fails(&fake.run(&["drain", "worker-3"]), 1, &["there is no worker `worker-3`"]);
    assert_fails(&fake.run(&["share", "vision", "0"]), 2, &["1..=1000"]);
}

#[test]
fn a_backup_is_whole_and_replaces_nothing() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.backup");
    let output = fake.run(&["backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(&file).unwrap(), model());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");
    assert_fails(&fake.run(&["backup", file.to_str().unwrap()]), 1, &["exists already"]);
    let restore = super::run(&["restore", "missing", "--data-dir", "d"], folder.path());
    assert_fails(&restore, 2, &["there is no backup missing"]);
}

#[test]
fn a_submit_is_repeated_with_its_key_and_the_job_followed_through_a_restart() {
    let fake = Fake::in_trouble(Trouble { away: 2, fails: false });
    let file = repository().join("deploy/jobs/resnet50-images.yaml");
    let output = fake.run(&["run", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let asked = fake.asked.take();
    let key = asked[0].strip_prefix("refused ").unwrap();
    assert_eq!(asked[1..3], [format!("refused {key}"), format!("accepted {key}")]);
    let said = stderr(&output);
    for (words, times) in [
        ("waiting to submit the job", 1),
        ("contact with the coordinator is lost", 2),
        ("the coordinator is back\n", 2),
    ] {
        assert_eq!(said.matches(words).count(), times, "{words}: {said}");
    }
    assert!(stdout(&output).contains("ensemble of 2"));
}

#[test]
fn a_failed_job_shows_the_last_words_of_the_task() {
    let fake = Fake::in_trouble(Trouble { away: 0, fails: true });
    let file = repository().join("deploy/jobs/resnet50-images.yaml");
    let output = fake.run(&["run", file.to_str().unwrap()]);
    let words =
        "the last lines of digits-1/train/0:\n  2026-02-02 02:40:00  worker-1  the last 200 of digits-1/train/0";
    assert_fails(&output, 1, &[words, "error: job `digits-1` failed: out of memory, 3 of 2 restarts"]);
    let log = fake.run(&["logs", JOB, "--task", "digits-1/train/0", "--tail", "3"]);
    assert!(stdout(&log).contains("the last 3 of digits-1/train/0"));
}
