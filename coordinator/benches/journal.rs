//! What the journal costs: commits a second in an SQLite file and in PostgreSQL, in turn within one run, for rounds of
//! one, 16 and 128 entries; and the replay of 100,000 entries.
//!
//! `cargo bench --profile release -p coordinator --bench journal`, PostgreSQL where TUTTI_BENCH_DATABASE names a database.

use coordinator::driver::replay;
use coordinator::journal::postgres::{Candidate, Database};
use coordinator::journal::{Entry, Journal, Sequence, SqliteJournal};
use ensemble::cluster::{Command, Settings};
use ensemble::job::Job;
use std::time::Instant;

/// Entries of a round, as many workers or few make them.
const ROUNDS: [usize; 3] = [1, 16, 128];
/// Rounds of one measurement.
const COMMITS: usize = 100;
const REPEATS: usize = 7;
/// What is replayed.
const HISTORY: usize = 100_000;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sqlite = (SqliteJournal::open(&folder.path().join("journal"))?, 0);
    let mut postgres = std::env::var("TUTTI_BENCH_DATABASE").ok().map(|url| lead(&url)).transpose()?;
    println!("commits a second, median [least, most], n = {REPEATS} of {COMMITS} commits");
    for round in ROUNDS {
        let (mut file, mut server) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            file.push(commits(&mut sqlite.0, &mut sqlite.1, round)?);
            if let Some((journal, _, sequence)) = &mut postgres {
                server.push(commits(journal, sequence, round)?);
            }
        }
        println!("{round:>4} entries each: SQLite {}, PostgreSQL {}", Spread(file), Spread(server));
    }
    replay_history()
}

fn lead(
    url: &str,
) -> anyhow::Result<(coordinator::journal::PostgresJournal, coordinator::journal::postgres::Leadership, Sequence)> {
    let candidate = Candidate::new(Database::new(url, None)?, "bench".into())?;
    let led = candidate.lead(|_| true)?;
    let (journal, leadership) = led.expect("nobody gives up");
    Ok((journal, leadership, 0))
}

/// Commits a second.
fn commits(journal: &mut dyn Journal, sequence: &mut Sequence, round: usize) -> anyhow::Result<f64> {
    let entries: Vec<_> = (0..round).map(|_| submit(*sequence)).collect();
    let begin = Instant::now();
    for _ in 0..COMMITS {
        journal.append(*sequence + 1, &entries)?;
        *sequence += round as Sequence;
    }
    Ok(COMMITS as f64 / begin.elapsed().as_secs_f64())
}

/// One submit, and its repetitions: replaying them is as much work for the journal as anything, and little for the cluster.
fn submit(at: Sequence) -> Entry {
    let file = "name: shapes\ndata: {format: idx, path: /data}\nmodel: {architecture: mlp}\n\
                train: {epochs: 1}\nmembers: [{seeds: {count: 2}}]";
    let job = Job::parse(file, &[]).expect("the job is valid");
    Entry { at, command: Command::Submit { key: "once".into(), job: Box::new(job) } }
}

fn replay_history() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("journal");
    let mut journal = SqliteJournal::open(&path)?;
    let page: Vec<_> = (0..1_000).map(submit).collect();
    for first in (0..HISTORY).step_by(page.len()) {
        journal.append(first as Sequence + 1, &page)?;
    }
    drop(journal);
    let mut seconds = Vec::new();
    for _ in 0..3 {
        let begin = Instant::now();
        let restored = replay(Settings::default(), &mut SqliteJournal::open(&path)?)?;
        assert_eq!(restored.sequence, HISTORY as Sequence);
        seconds.push(begin.elapsed().as_secs_f64());
    }
    println!("{HISTORY} entries replayed without a snapshot in {} s, n = 3", Spread(seconds));
    Ok(())
}

/// Figures by their median, their smallest and their largest.
struct Spread(Vec<f64>);

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(least), Some(median), Some(most)) => write!(f, "{median:.2} [{least:.2}, {most:.2}]"),
            _ => f.write_str("-"),
        }
    }
}
