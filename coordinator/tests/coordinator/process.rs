//! The program itself: what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The program as a child, killed if the test fails.
pub struct Program(Child);

impl Program {
    fn start(data_dir: &Path, listen: &str) -> Self {
        Self::start_in(data_dir, listen, &[])
    }

    /// Starts it with more in its environment.
    pub fn start_in(data_dir: &Path, listen: &str, environment: &[(String, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tutti-coordinator"));
        command.args(["--listen", listen]).env("TUTTI_DATA_DIR", data_dir).env("TUTTI_LOG", "off");
        command.envs(environment.iter().cloned());
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// What it says once it is ready.
    pub fn ready(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }

    fn terminate(&mut self) -> ExitStatus {
        let kill = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.0.wait().unwrap()
    }

    /// How it ended by itself, and what it said about it.
    fn failure(&mut self) -> (Option<i32>, String) {
        let mut message = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut message).unwrap();
        (self.0.wait().unwrap().code(), message)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.0.kill();
    }
}

#[test]
fn it_says_where_it_listens_and_ends_well_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), "127.0.0.1:0");
    let ready = program.ready();
    assert!(ready.starts_with("listening on http://127.0.0.1:"), "{ready}");
    assert_eq!(program.terminate().code(), Some(0));
}

#[test]
fn what_keeps_it_from_starting_is_one_line_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Program::start(folder.path(), "127.0.0.1:0");
    let address = first.ready().trim().trim_start_matches("listening on http://").to_owned();
    let elsewhere = tempfile::tempdir().unwrap();
    let in_use = format!("error: {address} is in use; stop the program that listens there");
    let cases = [
        (elsewhere.path(), address.as_str(), in_use.as_str()),
        (folder.path(), "127.0.0.1:0", "error: another coordinator uses"),
        (elsewhere.path(), "0.0.0.0:0", "error: 0.0.0.0:0 can be reached from other machines"),
    ];
    for (data_dir, listen, expected) in cases {
        let (code, message) = Program::start(data_dir, listen).failure();
        assert_eq!(code, Some(1));
        assert!(message.starts_with(expected) && message.lines().count() == 1, "{message}");
    }
    first.terminate();
}
