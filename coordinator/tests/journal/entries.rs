//! Entries that say which they are.

use coordinator::journal::{Entry, Journal, Sequence};
use ensemble::cluster::Command;
use ensemble::id::JobId;

/// Entry number so-and-so, which names itself. One in seven has text that is hard to store.
pub fn entry(sequence: Sequence) -> Entry {
    let odd = if sequence.is_multiple_of(7) { "\0 \"'\\ \u{2603} \u{1f680}" } else { "" };
    Entry { at: 1_000 + sequence, command: Command::Cancel { job: JobId::new(format!("job-{sequence}{odd}")) } }
}

/// Entries of these numbers.
pub fn entries(numbers: impl IntoIterator<Item = Sequence>) -> Vec<Entry> {
    numbers.into_iter().map(entry).collect()
}

/// All entries after a number, whose numbers must follow one another.
pub fn read_after(journal: &mut dyn Journal, mut last: Sequence) -> Vec<Entry> {
    let mut found = Vec::new();
    loop {
        let page = journal.read(last).unwrap();
        if page.is_empty() {
            return found;
        }
        for recorded in page {
            assert_eq!(recorded.sequence, last + 1);
            last = recorded.sequence;
            found.push(recorded.entry);
        }
    }
}

pub fn read_all(journal: &mut dyn Journal) -> Vec<Entry> {
    read_after(journal, 0)
}
