//! What the end-to-end tests stand on: the built programs, a small cut of real data, and clusters of real processes that
//! are gone when the test is, however it ends.
//!
//! Functions panic when something is not as it must be: a test has nobody to hand an error to.

#![allow(clippy::unwrap_used)]

pub mod chaos;
mod cluster;
mod data;
mod processes;
mod programs;
pub mod proxy;
mod watch;

pub use cluster::Cluster;
pub use data::{TEST_SAMPLES, TRAIN_SAMPLES, cut_fashion_mnist, raw_idx};
pub use processes::{Marked, Pid};
pub use programs::{program, root};
pub use watch::watch_until;

use std::process::{Command, Output};

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs a command that must succeed, and gives its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
