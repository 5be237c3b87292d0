//! The `tutti` program as a user meets it: the real binary, against a coordinator that answers what the test says.
#![allow(clippy::unwrap_used)]

mod coordinator;
mod files;
mod operators;
mod output;
mod up;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, with nothing of this environment that it would listen to.
fn tutti() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tutti"));
    command.env_remove("TUTTI_COORDINATOR").env_remove("COLORTERM");
    command
}

fn run(arguments: &[&str], folder: &Path) -> Output {
    tutti().args(arguments).current_dir(folder).output().unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts the exit code and that the error names each of `parts`.
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
