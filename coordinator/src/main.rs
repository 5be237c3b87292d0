//! `tutti-coordinator`: flags in, signals out. Everything else is in the library.

use anyhow::Context;
use artifacts::Location;
use clap::Parser;
use clap::builder::BoolishValueParser;
use coordinator::listen::listen;
use coordinator::{Coordinator, Settings};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The control plane of Tutti: takes jobs, hands out tasks, keeps checkpoints, averages, combines and serves.
#[derive(Parser, Debug)]
#[command(name = "tutti-coordinator", version)]
struct Flags {
    /// Where to listen. Port 0 takes a free one, which is printed.
    #[arg(long, env = "TUTTI_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The folder of the journal, the artifacts and the logs.
    #[arg(long, env = "TUTTI_DATA_DIR", default_value = ".tutti/coordinator")]
    data_dir: PathBuf,
    /// Where artifacts lie: a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, with credentials
    /// and endpoint from the environment (AWS_*, GOOGLE_*, AZURE_*). The data folder's own by default.
    #[arg(long, env = "TUTTI_ARTIFACTS", value_name = "URL")]
    artifacts: Option<Location>,
    /// How long an artifact that nothing refers to is kept, in seconds: longer than any upload takes.
    #[arg(long, env = "TUTTI_ARTIFACT_AGE_MIN_S", default_value_t = 3_600)]
    artifact_age_min_s: u64,
    /// How often workers say that they are alive, in milliseconds.
    #[arg(long, env = "TUTTI_HEARTBEAT_MS", default_value_t = 2_000)]
    heartbeat_ms: u64,
    /// How long a silent worker keeps its tasks, in milliseconds.
    #[arg(long, env = "TUTTI_LEASE_MS", default_value_t = 15_000)]
    lease_ms: u64,
    /// Listen beyond this machine although connections are neither encrypted nor authenticated.
    #[arg(long, env = "TUTTI_INSECURE_ALLOW_REMOTE", value_parser = BoolishValueParser::new())]
    insecure_allow_remote: bool,
}

/// Exit codes: 0 after a stop that was asked for, 1 for an error, 2 for wrong usage.
fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_from_env("TUTTI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let color = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr).init();
    match start(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let end = runtime.block_on(run(flags));
    // An average that is half done must not hold up the end: it is begun again at the next start.
    runtime.shutdown_background();
    end
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let mut settings = Settings::new(flags.data_dir);
    settings.artifacts = flags.artifacts;
    settings.artifact_age_min = Duration::from_secs(flags.artifact_age_min_s);
    settings.heartbeat_ms = flags.heartbeat_ms;
    settings.cluster.lease_ms = flags.lease_ms;

    let listener = listen(flags.listen, flags.insecure_allow_remote).await?;
    let address = listener.local_addr().context("cannot learn the own address")?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let coordinator = Coordinator::open(settings).await?;
    // Whoever started this waits for the line; a closed pipe means that nobody does.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    let stop = async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    };
    Ok(coordinator.run(listener, stop).await?)
}
