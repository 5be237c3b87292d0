//! What the commands print. The JSON is compared with the document that promises it.

use super::coordinator::{Fake, JOB, digest, model};
use super::{assert_fails, repository, stderr, stdout};
use serde_json::Value;
use std::fs;

/// The JSON block under the heading of a command in `OUTPUT.md`.
fn documented(command: &str) -> Value {
    let document = fs::read_to_string(repository().join("cli/OUTPUT.md")).unwrap();
    let section =
        document.split_once(&format!("## `{command}`")).unwrap_or_else(|| panic!("{command} is not documented")).1;
    let block = section.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    serde_json::from_str(&block.replace("DIGEST", &digest())).unwrap()
}

fn check(fake: &Fake, command: &str, arguments: &[&str]) {
    let output = fake.run(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let documented = documented(command);
    assert_eq!(printed, documented, "{printed:#}");
}

#[test]
fn json_is_what_the_document_says() {
    let fake = Fake::start();
    let images = images();
    let folder = tempfile::tempdir().unwrap();
    check(&fake, "tutti get jobs", &["get", "jobs", "--output", "json"]);
    check(&fake, "tutti get members JOB", &["get", "members", JOB, "--output", "json"]);
    check(&fake, "tutti get workers", &["get", "workers", "-o", "json"]);
    check(&fake, "tutti get checkpoints JOB", &["get", "--output", "json", "checkpoints", JOB]);
    check(&fake, "tutti share", &["share", "--output", "json"]);
    check(&fake, "tutti collect", &["collect", "--output", "json"]);
    check(&fake, "tutti report JOB", &["report", JOB, "--output", "json"]);
    let picture = images.path().to_str().unwrap();
    check(&fake, "tutti predict JOB", &["predict", JOB, "--images", picture, "--pick", "1", "--output", "json"]);
    check(&fake, "tutti export JOB", &["export", JOB, "--to", folder.path().to_str().unwrap()]);
}

#[test]
fn tables_show_the_same() {
    let fake = Fake::start();
    let jobs = stdout(&fake.run(&["get", "jobs"]));
    let [header, row] = jobs.lines().collect::<Vec<_>>()[..] else { panic!("{jobs}") };
    assert!(header.starts_with("JOB       NAMESPACE  PRIORITY  PHASE  MEMBERS READY  SERVED  AGE"), "{header}");
    assert!(row.starts_with("digits-1  default    50        done   2 of 2         yes     "), "{row}");
    let workers = stdout(&fake.run(&["get", "workers"]));
    assert!(workers.contains("connected  draining") && workers.contains("idle"), "{workers}");
    assert!(workers.contains("worker-2  gone       active"), "{workers}");
    assert!(stdout(&fake.run(&["share"])).contains("vision     3       2"));
    let garbage = stdout(&fake.run(&["collect", "--dry-run"]));
    assert!(garbage.ends_with("4.1 kB to be removed, 21.3 MB kept\n") && garbage.contains(&digest()), "{garbage}");
    assert!(stdout(&fake.run(&["get", "members", JOB])).contains("87.50 %"));
    assert!(stdout(&fake.run(&["get", "checkpoints", JOB])).contains(&digest()[..12]));
    assert!(stdout(&fake.run(&["report", JOB])).contains("ensemble of 2"));
    let line = "2026-02-02 02:40:00  digits-1/train/0  worker-1  epoch 1\n";
    assert_eq!(stdout(&fake.run(&["logs", JOB])), line);
    assert!(stdout(&fake.run(&["logs", JOB, "--follow"])).contains("followed"));
}

/// As when the output goes to `head`, which reads a line and leaves.
#[test]
fn a_reader_that_leaves_is_no_error() {
    let fake = Fake::start();
    let address = fake.address.to_string();
    let mut command = super::tutti();
    command.args(["get", "jobs", "--coordinator", &address]).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn answers_come_as_pictures_and_words() {
    let fake = Fake::start();
    let images = images();
    let printed = stdout(&fake.run(&["predict", JOB, "--images", images.path().to_str().unwrap()]));
    let expected = "
 .                             :-
answer zero  87.5 %            answer one  75.0 %
2 of 2 members agree           2 of 2 members agree
";
    assert_eq!(format!("\n{printed}"), expected);
    let beyond = fake.run(&["predict", JOB, "--images", images.path().to_str().unwrap(), "--pick", "2"]);
    assert_fails(&beyond, 2, &["there is no image 2; they are numbered from 0 to 1"]);
}

#[test]
fn an_export_is_checked_and_described() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new");
    let output = fake.run(&["export", JOB, "--what", "member/0", "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(target.join("seed-0.safetensors")).unwrap(), model());
    let manifest: Value = serde_json::from_slice(&fs::read(target.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["models"][0]["lineage"]["run"]["name"], "seed-0");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 2, "nothing half-written is left");

    let output = fake.run(&["export", JOB, "--what", "damaged", "--to", target.to_str().unwrap()]);
    assert_fails(&output, 1, &["`seed-0` arrived damaged", &digest()]);
}

#[test]
fn a_job_is_submitted_followed_and_reported() {
    let fake = Fake::start();
    let file = repository().join("deploy/jobs/resnet50-images.yaml");
    let file = file.to_str().unwrap();
    let output = fake.run(&["run", file, "--set", "data.path=elsewhere"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let progress = "job digits-1\nseed-0  training on worker-1, attempt 1\n2 of 2 members ready\nseed-0  done\n";
    assert_eq!(stderr(&output), progress);
    assert!(stdout(&output).contains("ensemble of 2"));
    let data = repository().join("deploy/jobs/elsewhere");
    assert_eq!(fake.asked.take(), [format!("submit key of 32 with data in {}", data.display())]);

    assert_eq!(stdout(&fake.run(&["run", file, "--detach"])), "digits-1\n");
}

#[test]
fn a_job_is_cancelled_by_its_name() {
    let fake = Fake::start();
    assert_eq!(stdout(&fake.run(&["cancel", JOB])), "job digits-1 is cancelled\n");
    assert_eq!(fake.asked.take(), ["cancel digits-1"]);
    assert_fails(&fake.run(&["cancel", "none"]), 1, &["there is no job `none`", "`tutti get jobs`"]);
}

/// Two images of one row and two columns.
fn images() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 20, 60, 120, 200]).unwrap();
    file
}
