//! A database that goes and comes back: nothing is lost, nothing happens twice, and all goes on by itself.

use crate::server::{Server, database};
use coordinator::journal::postgres::Candidate;
use coordinator::{Coordinator, Settings};
use ensemble::cluster::{Cluster, Command};
use ensemble::job::Job;
use futures_util::future::join_all;
use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take. Nothing here waits for so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks in each of the three phases, before, during and after the outage.
const ASKING: usize = 20;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it comes within a minute")
}

fn submit(key: usize) -> Command {
    let file = "name: shapes\ndata: {format: idx, path: /data}\nmodel: {architecture: mlp}\n\
                train: {epochs: 1}\nmembers: [{seeds: {count: 1}}]";
    Command::Submit { key: format!("key-{key}"), job: Box::new(Job::parse(file, &[]).unwrap()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_loses_nothing_and_repeats_nothing() {
    let Some(server) = Server::start() else { return };
    let (url, folder) = (server.database(), tempfile::tempdir().unwrap());
    let settings = Settings { database: Some(database(&url)), ..Settings::new(folder.path().to_owned()) };
    let coordinator = soon(Coordinator::open(settings)).await.unwrap();
    let driver = coordinator.shared().driver.clone();
    let ask = |phase: usize| {
        let driver = driver.clone();
        let asked = (0..ASKING).map(move |one| {
            let driver = driver.clone();
            tokio::spawn(async move { driver.apply(submit(phase * ASKING + one)).await })
        });
        join_all(asked.collect::<Vec<_>>())
    };
    let all_taken =
        |answers: Vec<Result<Result<(), _>, _>>| answers.into_iter().for_each(|taken| taken.unwrap().unwrap());

    all_taken(soon(ask(0)).await);
    server.kill();
    let during = ask(1);
    let mut stall = driver.stall();
    let said = soon(stall.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    assert!(said.starts_with("waiting for the journal"), "{said}");
    let refused = soon(driver.try_apply(submit(usize::MAX))).await.unwrap_err();
    assert!(refused.to_string().contains("waiting for the journal"), "{refused}");
    server.start_again();
    all_taken(soon(during).await);
    soon(stall.wait_for(Option::is_none)).await.unwrap();
    all_taken(soon(ask(2)).await);

    assert_eq!(soon(driver.inspect(Cluster::jobs)).await.unwrap().len(), 3 * ASKING);
    // Other entries are the coordinator's own, such as its start.
    let written = "SELECT count(*), count(DISTINCT command::jsonb -> 'submit' -> 'key') FROM tutti.entries \
         WHERE command::jsonb ? 'submit'";
    let count = 3 * ASKING;
    assert_eq!(server.ask(&url, written), [format!("{count}|{count}")]);
    assert_eq!(server.ask(&url, "SELECT count(*) = max(sequence) FROM tutti.entries"), ["t"], "no gap");
}

#[test]
fn a_leader_that_does_not_reach_its_database_is_not_sure_that_it_leads() {
    let Some(server) = Server::start() else { return };
    let candidate = Candidate::new(database(&server.database()), "one".into()).unwrap();
    let (_journal, leadership) = candidate.lead(|_| true).unwrap().unwrap();
    let tenure = leadership.tenure();
    let becomes = |sure: bool| {
        let until = Instant::now() + PATIENCE;
        while tenure.holds() != sure {
            assert!(Instant::now() < until, "sure that it leads: {}", !sure);
            thread::sleep(Duration::from_millis(20));
        }
    };
    becomes(true);
    server.pause();
    becomes(false);
    server.resume();
    becomes(true);
}
