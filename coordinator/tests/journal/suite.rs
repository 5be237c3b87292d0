//! What every journal promises.

use crate::entries::{entries, read_after, read_all};
use crate::places::{Place, Postgres, Sqlite};
use coordinator::journal::{JournalError, PAGE, Sequence, Snapshot};

macro_rules! for_every_journal {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $promise() { super::$promise(&super::Sqlite::new().unwrap()) })+
        }
        mod postgres {
            $(#[test] fn $promise() { if let Some(place) = super::Postgres::new() { super::$promise(&place) } })+
        }
    };
}

for_every_journal!(
    entries_come_back_in_order_to_a_new_process,
    an_append_may_be_repeated_in_part_or_in_whole,
    an_append_that_contradicts_what_is_there_is_refused,
    the_newest_whole_snapshot_counts_and_history_before_the_older_one_is_forgotten,
    a_journal_of_a_later_version_is_refused,
);

fn entries_come_back_in_order_to_a_new_process(place: &impl Place) {
    let mut next = 1;
    for size in [1, 16, 128, PAGE as Sequence + 7, 1] {
        // Opened anew each time: what counts is what outlives a process.
        let mut open = place.open().unwrap();
        open.journal.append(next, &entries(next..next + size)).unwrap();
        next += size;
    }
    assert_eq!(read_all(place.open().unwrap().journal.as_mut()), entries(1..next));
    assert_eq!(read_after(place.open().unwrap().journal.as_mut(), next - 2), entries(next - 1..next));
}

fn an_append_may_be_repeated_in_part_or_in_whole(place: &impl Place) {
    let mut open = place.open().unwrap();
    open.journal.append(1, &entries(1..5)).unwrap();
    open.journal.append(1, &entries(1..5)).unwrap();
    open.journal.append(3, &entries(3..8)).unwrap();
    assert_eq!(read_all(open.journal.as_mut()), entries(1..8));
}

fn an_append_that_contradicts_what_is_there_is_refused(place: &impl Place) {
    let mut open = place.open().unwrap();
    open.journal.append(1, &entries(1..5)).unwrap();
    let mut refused = |first, numbers: &[Sequence], word: &str| {
        let error = open.journal.append(first, &entries(numbers.iter().copied())).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(3, &[3, 9], "entry 4 is another");
    refused(6, &[6], "entry 5 was written and is gone");
    assert_eq!(read_all(open.journal.as_mut()), entries(1..5), "nothing of a refused append is written");
}

fn the_newest_whole_snapshot_counts_and_history_before_the_older_one_is_forgotten(place: &impl Place) {
    let mut open = place.open().unwrap();
    assert_eq!(open.journal.newest_snapshot(Sequence::MAX).unwrap(), None);
    open.journal.append(1, &entries(1..31)).unwrap();
    let snapshot = |sequence| Snapshot { sequence, at: 1_000 + sequence, state: format!("{{\"after\":{sequence}}}") };
    for (sequence, kept_from) in [(10, 1), (20, 11), (30, 21), (30, 21)] {
        open.journal.keep_snapshot(&snapshot(sequence)).unwrap();
        assert_eq!(open.journal.newest_snapshot(Sequence::MAX).unwrap(), Some(snapshot(sequence)));
        assert_eq!(read_after(open.journal.as_mut(), kept_from - 1), entries(kept_from..31));
        assert_eq!(open.journal.read(0).unwrap()[0].sequence, kept_from);
    }
    assert_eq!(open.journal.newest_snapshot(30).unwrap(), Some(snapshot(20)));
    open.journal.append(31, &entries(31..33)).unwrap();
    place.tamper("UPDATE {}snapshots SET state = replace(state, '30', '31')");
    assert_eq!(
        open.journal.newest_snapshot(Sequence::MAX).unwrap(),
        Some(snapshot(20)),
        "a damaged one does not count"
    );
}

fn a_journal_of_a_later_version_is_refused(place: &impl Place) {
    drop(place.open().unwrap());
    place.set_version(7);
    let error = place.open().err().unwrap();
    assert!(matches!(error, JournalError::Newer { found: 7, .. }), "{error:?}");
    assert!(error.to_string().contains("start the version of Tutti that wrote it"), "{error}");
}
