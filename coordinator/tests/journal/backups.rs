//! Backups of a journal that is being written, and what comes of them.

use crate::entries::{entries, read_all};
use coordinator::backup::{BackupError, Source, restore};
use coordinator::data_dir::DataDir;
use coordinator::journal::{Journal, SqliteJournal};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

fn refused(result: Result<(), BackupError>, words: &[&str]) {
    let error = result.unwrap_err().to_string();
    words.iter().for_each(|word| assert!(error.contains(word), "{error}"));
}

fn restored(backup: &Path) -> Vec<coordinator::journal::Entry> {
    let folder = tempfile::tempdir().unwrap();
    restore(backup, folder.path()).unwrap();
    read_all(&mut SqliteJournal::open(&DataDir::journal_in(folder.path())).unwrap())
}

/// Every backup taken while a coordinator writes holds all that was acknowledged before it was begun, and no half round.
#[test]
fn a_backup_is_one_moment_of_a_journal_that_is_being_written() {
    const ROUND: u64 = 16;
    const ROUNDS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let mut journal = SqliteJournal::open(&path).unwrap();
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for first in (1..ROUNDS * ROUND).step_by(ROUND as usize) {
                journal.append(first, &entries(first..first + ROUND)).unwrap();
                acknowledged.store(first + ROUND - 1, Ordering::SeqCst);
            }
        });
        let mut taken = 0;
        while taken < 5 || !writer.is_finished() {
            let backup = folder.path().join(format!("backup-{taken}"));
            let before = acknowledged.load(Ordering::SeqCst);
            Source::Embedded(path.clone()).write_to(&backup).unwrap();
            let found = restored(&backup);
            let count = found.len() as u64;
            assert!(count >= before && count.is_multiple_of(ROUND), "{count} after {before}");
            assert_eq!(found, entries(1..count + 1));
            taken += 1;
        }
    });
    let scratch = |name: &str| name.ends_with(".partial") || name.ends_with(".journal");
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| scratch(name)).count(), 0, "no scratch file is left");
}

#[test]
fn a_backup_that_is_not_what_it_was_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("journal.sqlite"), folder.path().join("backup"));
    let mut journal = SqliteJournal::open(&path).unwrap();
    journal.append(1, &entries(1..200)).unwrap();
    Source::Embedded(path).write_to(&backup).unwrap();
    let whole = fs::read(&backup).unwrap();
    let target = folder.path().join("target");
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = whole.clone();
        change(&mut content);
        fs::write(&backup, content).unwrap();
        refused(restore(&backup, &target), &["cannot be restored", "use another copy"]);
        assert!(!DataDir::journal_in(&target).exists());
    };
    for place in (0..whole.len()).step_by(whole.len() / 40) {
        damaged(&|content| content[place] ^= 1);
        damaged(&|content| content.truncate(place));
    }
    damaged(&|content| content.push(0));
    fs::write(&backup, &whole).unwrap();
    restore(&backup, &target).unwrap();
}

#[test]
fn nothing_is_ever_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("journal.sqlite"), folder.path().join("backup"));
    let source = Source::Embedded(path.clone());
    refused(source.write_to(&backup).map(drop), &["there is no journal", "--data-dir"]);
    SqliteJournal::open(&path).unwrap().append(1, &entries(1..3)).unwrap();
    source.write_to(&backup).unwrap();
    refused(source.write_to(&backup).map(drop), &["exists already"]);
    refused(restore(&backup, folder.path()), &["no place to restore to", "journal.sqlite"]);

    let used = tempfile::tempdir().unwrap();
    let held = DataDir::open(used.path()).unwrap();
    refused(restore(&backup, used.path()), &["a coordinator works there"]);
    drop(held);
    fs::write(used.path().join("artifacts/some"), "thing").unwrap();
    restore(&backup, used.path()).unwrap();
    refused(Source::Database.write_to(&backup).map(drop), &["pg_dump"]);
}
