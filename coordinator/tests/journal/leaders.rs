//! Several coordinators on one PostgreSQL: one leads, and nobody else writes.

use crate::entries::entry;
use crate::server::{Server, database};
use coordinator::journal::postgres::{Candidate, Leadership};
use coordinator::journal::{Journal, JournalError, PostgresJournal, Sequence};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Steps of a generated history, each a takeover or an append by whoever was ever a leader.
const STEPS: usize = 60;

/// Ends the lease of whoever leads, as time would.
const RUN_OUT: &str = "UPDATE tutti.leader SET expires = '-infinity'";

/// Entries that stand before one of an older leader: there must be none.
const OUT_OF_ORDER: &str = "SELECT count(*) FROM (SELECT epoch, lag(epoch) OVER (ORDER BY sequence) AS before \
     FROM tutti.entries) pairs WHERE before > epoch";

/// The next leader, who waits for nobody.
fn take_over(server: &Server, url: &str, name: usize) -> (PostgresJournal, Leadership) {
    let candidate = Candidate::new(database(url), format!("coordinator-{name}")).unwrap();
    // The one before renews its lease all the while, so it is ended as often as the candidate looks.
    let run_out = |_: Option<&_>| {
        server.ask(url, RUN_OUT);
        true
    };
    candidate.lead(run_out).unwrap().unwrap()
}

#[test]
fn whoever_was_deposed_writes_nothing_any_more() {
    let Some(server) = Server::shared() else { return };
    let url = server.database();
    let mut random = fastrand::Rng::with_seed(6);
    let mut leaders = vec![take_over(&server, &url, 0)];
    let (mut sequence, mut refused): (Sequence, usize) = (0, 0);
    let mut writers = Vec::new();
    for _ in 0..STEPS {
        if random.u8(..6) == 0 {
            leaders.push(take_over(&server, &url, leaders.len()));
        }
        let (newest, chosen) = (leaders.len() - 1, random.usize(..leaders.len()));
        let journal = &mut leaders[chosen].0;
        match journal.append(sequence + 1, &[entry(sequence + 1)]) {
            Ok(()) => {
                assert_eq!(chosen, newest, "leader {chosen} wrote although {newest} leads");
                sequence += 1;
                writers.push(journal.epoch().to_string());
            }
            Err(JournalError::Deposed { .. }) => {
                assert_ne!(chosen, newest, "the leader was refused");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(leaders.len() > 3 && refused > 5 && sequence > 5, "{} {refused} {sequence}", leaders.len());
    assert_eq!(server.ask(&url, "SELECT epoch FROM tutti.entries ORDER BY sequence"), writers);
    assert_eq!(server.ask(&url, OUT_OF_ORDER), ["0"]);
}

/// How long a process may take for what it must do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A coordinator's process.
struct Process {
    child: Child,
    lines: Receiver<String>,
    _folder: TempDir,
}

impl Process {
    fn start(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tutti-coordinator"));
        command.args(["--database", url, "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        command.arg("--artifacts").arg(folder.path().join("artifacts"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (say, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, lines, _folder: folder }
    }

    /// Waits until it says something that begins so.
    fn says(&mut self, words: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(words) => return,
                Ok(_) => {}
                Err(error) => panic!("it did not say `{words}`: {error}"),
            }
        }
    }

    /// Waits until it has ended.
    fn ends(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < until, "it did not end"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_standby_takes_over_from_a_dead_and_from_a_sleeping_leader_which_steps_down() {
    let Some(server) = Server::shared() else { return };
    let url = server.database();
    let mut first = Process::start(&url);
    first.says("listening on");
    let mut second = Process::start(&url);
    second.says("standing by: another coordinator leads");
    first.signal(Signal::KILL);
    second.says("listening on");

    let mut third = Process::start(&url);
    third.says("standing by: another coordinator leads");
    second.signal(Signal::STOP);
    third.says("listening on");
    second.signal(Signal::CONT);
    assert_eq!(second.ends().code(), Some(3), "it was deposed");

    third.signal(Signal::TERM);
    assert!(third.ends().success());
    assert_eq!(server.ask(&url, "SELECT DISTINCT epoch FROM tutti.entries ORDER BY epoch"), ["1", "2", "3"]);
    assert_eq!(server.ask(&url, OUT_OF_ORDER), ["0"]);
}
