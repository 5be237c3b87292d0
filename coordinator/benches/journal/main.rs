//! What the journal costs: commits a second in an SQLite file and in PostgreSQL, in turn within one run; and the replay of
//! a history from its first entry, and from the state that a coordinator has kept.
//!
//! `cargo bench --profile release -p coordinator --bench journal` starts a PostgreSQL server of its own where one is
//! installed; TUTTI_BENCH_DATABASE names another.

mod history;
mod server;
mod spread;

use coordinator::driver::replay;
use coordinator::journal::postgres::{Candidate, Database, Leadership};
use coordinator::journal::{Entry, Journal, PostgresJournal, Sequence, SqliteJournal};
use ensemble::cluster::Settings;
use history::History;
use spread::{Spread, ratios};
use std::path::Path;
use std::time::Instant;

/// Entries of a commit, as few workers make them, or many.
const SIZES: [usize; 3] = [1, 16, 128];
/// Commits of one measurement.
const COMMITS: usize = 100;
const REPEATS: usize = 9;
/// What is replayed, and where the state was kept last: as long ago as it ever is.
const ENTRIES: usize = 100_000;
const KEPT_AT: usize = 90_001;

fn main() -> anyhow::Result<()> {
    let history = History::of(ENTRIES, KEPT_AT);
    compare_commits(&history.entries)?;
    compare_replays(&history)
}

fn compare_commits(entries: &[Entry]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = server::Server::find()?;
    let mut sqlite = (SqliteJournal::open(&folder.path().join("journal"))?, 0);
    let mut postgres = server.as_ref().map(|server| lead(server.url())).transpose()?;
    println!("commits a second, median [least, most], n = {REPEATS} of {COMMITS} commits, in turn");
    println!("{:>8}  {:24}{:24}SQLite / PostgreSQL", "entries", "SQLite", "PostgreSQL");
    for size in SIZES {
        let (mut file, mut database) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            file.push(commits(&mut sqlite.0, &mut sqlite.1, &entries[..size])?);
            if let Some((journal, _, sequence)) = &mut postgres {
                database.push(commits(journal, sequence, &entries[..size])?);
            }
        }
        let ratio = ratios(&file, &database);
        println!("{size:>8}  {:24}{:24}{}", Spread(file).to_string(), Spread(database).to_string(), Spread(ratio));
    }
    Ok(())
}

fn lead(url: &str) -> anyhow::Result<(PostgresJournal, Leadership, Sequence)> {
    let candidate = Candidate::new(Database::new(url, None)?, "bench".into())?;
    let (journal, leadership) = candidate.lead(|_| true)?.expect("nobody gives up");
    Ok((journal, leadership, 0))
}

/// Commits a second.
fn commits(journal: &mut dyn Journal, sequence: &mut Sequence, entries: &[Entry]) -> anyhow::Result<f64> {
    let begin = Instant::now();
    for _ in 0..COMMITS {
        journal.append(*sequence + 1, entries)?;
        *sequence += entries.len() as Sequence;
    }
    Ok(COMMITS as f64 / begin.elapsed().as_secs_f64())
}

fn compare_replays(history: &History) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [plain, kept] = ["plain", "kept"].map(|name| folder.path().join(name));
    for path in [&plain, &kept] {
        let mut journal = SqliteJournal::open(path)?;
        for (page, first) in history.entries.chunks(1_000).zip((1..).step_by(1_000)) {
            journal.append(first, page)?;
        }
    }
    SqliteJournal::open(&kept)?.keep_snapshot(&history.kept)?;
    let (mut from_first, mut from_kept) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        from_first.push(seconds_to_replay(&plain, ENTRIES)?);
        from_kept.push(seconds_to_replay(&kept, ENTRIES - KEPT_AT)?);
    }
    let ratio = ratios(&from_kept, &from_first);
    println!("\n{} replayed in seconds, median [least, most], n = {REPEATS}, in turn", history.what);
    println!(
        "from the first {}, from the state at {KEPT_AT} {}, ratio {}",
        Spread(from_first),
        Spread(from_kept),
        Spread(ratio)
    );
    Ok(())
}

fn seconds_to_replay(path: &Path, entries: usize) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let restored = replay(Settings::default(), &mut SqliteJournal::open(path)?)?;
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!((restored.sequence, restored.replayed), (ENTRIES as Sequence, entries as Sequence));
    Ok(seconds)
}
