//! The `tutti-worker` program.

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use worker::{Options, WorkerError};

/// The exit status of a worker that the coordinator will never take, so that whoever starts it need not try again.
const EXIT_REFUSED: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    log_to_stderr();
    crash_on_panic();
    match start(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tutti-worker: {error:#}");
            exit_code(&error)
        }
    }
}

async fn start(options: Options) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    worker::run(options.resolve()?, || println!("joined"), shutdown).await?;
    Ok(())
}

/// A part that is gone would leave the rest waiting for it. Whoever started the worker starts it again, and its tasks go
/// on from their checkpoints.
fn crash_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TUTTI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colors = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colors).init();
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<WorkerError>() {
        Some(WorkerError::Refused(_)) => ExitCode::from(EXIT_REFUSED),
        _ => ExitCode::FAILURE,
    }
}
