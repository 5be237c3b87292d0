//! `tutti`: starts a cluster on this machine, submits jobs to one, follows them and asks their ensembles.

mod arguments;
mod ask;
mod commands;
mod coordinator;
mod display;
mod exit;
mod follow;
mod job_file;
mod local;
mod output;
mod patience;
mod pictures;

use clap::Parser;
use std::process::ExitCode;

/// One thread: the program waits for the network and for its children, and every child dies with the thread that
/// started it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match arguments::Arguments::parse().execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
