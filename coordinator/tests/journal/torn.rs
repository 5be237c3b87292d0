//! A crash may cut the write-ahead log anywhere beyond what was synced, and leave rubbish there. A disk that lied about a
//! sync may even lose more. Either way the journal opens, with a prefix of what was acknowledged: with all of it, unless
//! the disk lied.

use crate::entries::{entries, read_all};
use coordinator::journal::{Journal, Sequence, Snapshot, SqliteJournal};
use std::fs;
use std::path::{Path, PathBuf};

/// A journal as the disk has it while a process writes, and how much of the log was synced when each entry was answered.
struct Crashed {
    database: Vec<u8>,
    log: Vec<u8>,
    /// By entry, in order: from `first` on.
    synced: Vec<usize>,
    first: Sequence,
}

/// Writes `before` entries, a snapshot that moves them out of the log, and `after` more.
fn crash(before: Sequence, after: Sequence) -> Crashed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = SqliteJournal::open(&path).unwrap();
    for first in (1..=before).step_by(100) {
        journal.append(first, &entries(first..before.min(first + 99) + 1)).unwrap();
    }
    // As when a process ends well: the whole log is written back, and begun anew.
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "wal_checkpoint", "truncate").unwrap();
    let mut synced = Vec::new();
    for sequence in before + 1..=before + after {
        journal.append(sequence, &entries([sequence])).unwrap();
        synced.push(fs::metadata(log_of(&path)).unwrap().len() as usize);
    }
    Crashed { database: fs::read(&path).unwrap(), log: fs::read(log_of(&path)).unwrap(), synced, first: before + 1 }
}

fn log_of(path: &Path) -> PathBuf {
    path.with_file_name("journal-wal")
}

impl Crashed {
    /// What a process finds that starts after the log was cut and something else was found behind the cut.
    fn reopened(&self, cut: usize, rubbish: &[u8]) -> Vec<coordinator::journal::Entry> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, &self.database).unwrap();
        fs::write(log_of(&path), [&self.log[..cut], rubbish].concat()).unwrap();
        let mut journal = SqliteJournal::open(&path).unwrap();
        let found = read_all(&mut journal);
        // And it goes on from there.
        let next = found.len() as Sequence + 1;
        journal.append(next, &entries([next])).unwrap();
        journal.keep_snapshot(&Snapshot { sequence: next, at: 0, state: String::new() }).unwrap();
        found
    }

    /// The number of the newest entry that was acknowledged when the log had this length.
    fn acknowledged(&self, length: usize) -> Sequence {
        self.first - 1 + self.synced.iter().filter(|&&synced| synced <= length).count() as Sequence
    }
}

/// Offsets all over the log, with both sides of the moments at which something was acknowledged.
fn offsets(crashed: &Crashed) -> Vec<usize> {
    let edges = crashed.synced.iter().flat_map(|&synced| [synced - 1, synced, synced + 1]);
    let everywhere = (0..crashed.log.len()).step_by(997);
    let mut offsets: Vec<_> = edges.chain(everywhere).filter(|&offset| offset <= crashed.log.len()).collect();
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

#[test]
fn a_cut_log_leaves_exactly_what_was_acknowledged_before_the_cut() {
    for (before, after) in [(0, 25), (700, 25)] {
        let crashed = crash(before, after);
        let offsets = offsets(&crashed);
        assert!(offsets.len() > 100, "{}", offsets.len());
        for cut in offsets {
            let found = crashed.reopened(cut, b"");
            assert_eq!(found, entries(1..crashed.acknowledged(cut) + 1), "cut at {cut}");
        }
    }
}

#[test]
fn rubbish_behind_the_synced_log_is_ignored() {
    let crashed = crash(300, 10);
    let frame = crashed.log.len() - crashed.synced[crashed.synced.len() - 2];
    let rubbish = [vec![0; 3 * frame], vec![0xa5; frame + 17], crashed.log[..frame].to_vec()];
    for rubbish in &rubbish {
        for length in (0..=rubbish.len()).step_by(613) {
            let found = crashed.reopened(crashed.log.len(), &rubbish[..length]);
            assert_eq!(found, entries(1..311), "{length} bytes of rubbish");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_log_ends_history_there() {
    let crashed = crash(0, 12);
    for place in (32..crashed.log.len()).step_by(509) {
        let mut damaged = crashed.log.clone();
        damaged[place] ^= 0x10;
        let flipped = Crashed { log: damaged, ..crash(0, 0) };
        let flipped = Crashed { database: crashed.database.clone(), ..flipped };
        let found = flipped.reopened(flipped.log.len(), b"");
        assert_eq!(found, entries(1..crashed.acknowledged(place) + 1), "flipped at {place}");
    }
}
