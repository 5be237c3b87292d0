//! A journal that version 1 wrote is brought up to date.
//!
//! `version-1.sqlite` was written by that version: a seeded random history of five jobs on workers that lose their
//! connection, fall silent, fail and come back, cut off in its middle; its phases are what that version showed then.

use coordinator::driver::{Restored, replay};
use coordinator::journal::{Journal, RULES, SqliteJournal};
use ensemble::cluster::Settings;
use ensemble::view::Phase;
use std::fs;
use std::path::Path;

const ENTRIES: u64 = 223;

fn upgraded() -> (tempfile::TempDir, SqliteJournal) {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/version-1.sqlite");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    fs::copy(old, &path).unwrap();
    let journal = SqliteJournal::open(&path).unwrap();
    (folder, journal)
}

#[test]
fn no_job_and_no_result_of_an_older_version_is_lost() {
    let (_folder, mut journal) = upgraded();
    let Restored { cluster, sequence, replayed, outdated, skipped, .. } =
        replay(Settings::default(), &mut journal).unwrap();
    assert_eq!((sequence, replayed, outdated), (ENTRIES, ENTRIES, ENTRIES));
    println!("{skipped} of {replayed} entries do not count any more");
    let jobs: Vec<_> =
        cluster.jobs().into_iter().map(|job| (job.id.to_string(), job.phase, job.members_ready)).collect();
    println!("{jobs:?}");
    assert_eq!(jobs[0], ("demo-1".into(), Phase::Done, 4));
}

#[test]
fn an_upgraded_journal_is_written_on_under_todays_rules() {
    let (folder, mut journal) = upgraded();
    journal.append(ENTRIES + 1, &crate::entries::entries([1])).unwrap();
    drop(journal);
    let mut journal = SqliteJournal::open(&folder.path().join("journal")).unwrap();
    let rules = |recorded: Vec<coordinator::journal::Recorded>| recorded[0].rules;
    assert_eq!((rules(journal.read(0).unwrap()), rules(journal.read(ENTRIES).unwrap())), (1, RULES));
}
