//! `tutti-coordinator`: flags in, signals out. Everything else is in the library.

use anyhow::Context;
use artifacts::Location;
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use coordinator::data_dir::DataDir;
use coordinator::journal::postgres::Database;
use coordinator::journal::postgres::leader::Waiting;
use coordinator::listen::reserve;
use coordinator::{Coordinator, RunError, Settings, StartError, backup};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The exit code of a coordinator that another has taken over from: it was not asked to end, and has done nothing wrong.
const DEPOSED: u8 = 3;

/// The control plane of Tutti: takes jobs, hands out tasks, keeps checkpoints, averages, combines and serves.
#[derive(Parser, Debug)]
#[command(name = "tutti-coordinator", version, args_conflicts_with_subcommands = true)]
struct Flags {
    #[command(subcommand)]
    errand: Option<Errand>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand, Debug)]
enum Errand {
    /// Back up the journal, also while the coordinator runs. Artifacts are not in it: copy the store afterwards.
    Backup {
        #[command(flatten)]
        folder: Folder,
        /// The file to write. It must not exist.
        file: PathBuf,
    },
    /// Restore a backup into a folder that has no journal, and that no coordinator uses.
    Restore {
        #[command(flatten)]
        folder: Folder,
        /// The backup.
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Folder {
    /// The folder of the journal, the artifacts and the logs.
    #[arg(long, env = "TUTTI_DATA_DIR", default_value = ".tutti/coordinator")]
    data_dir: PathBuf,
}

#[derive(Args, Debug)]
struct Serve {
    /// Where to listen. Port 0 takes a free one, which is printed.
    #[arg(long, env = "TUTTI_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    folder: Folder,
    /// Keep the journal in PostgreSQL: postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=require. Several coordinators may
    /// share it: one leads, the others stand by. They share the artifacts as well, so --artifacts must say where those lie.
    #[arg(long, env = "TUTTI_DATABASE", hide_env_values = true, value_name = "URL", requires = "artifacts")]
    database: Option<String>,
    /// The authorities that the database's certificate is checked against, as PEM, instead of the system's.
    #[arg(long, env = "TUTTI_DATABASE_CA", value_name = "FILE")]
    database_ca: Option<PathBuf>,
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
    /// How long to take at most for ending, once told to, in seconds.
    #[arg(long, env = "TUTTI_DRAIN_S", default_value_t = 10)]
    drain_s: u32,
    /// Listen beyond this machine although connections are neither encrypted nor authenticated.
    #[arg(long, env = "TUTTI_INSECURE_ALLOW_REMOTE", value_parser = BoolishValueParser::new())]
    insecure_allow_remote: bool,
}

/// Exit codes: 0 after a stop that was asked for, 1 for an error, 2 for wrong usage, 3 if another coordinator took over.
fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_from_env("TUTTI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let color = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr).init();
    let end = match flags.errand {
        None => start(flags.serve),
        Some(Errand::Backup { folder, file }) => back_up(folder, file),
        Some(Errand::Restore { folder, file }) => restore(folder, file),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let deposed = error.downcast_ref().is_some_and(RunError::is_deposed)
                || error.downcast_ref().is_some_and(StartError::is_deposed);
            if deposed { ExitCode::from(DEPOSED) } else { ExitCode::FAILURE }
        }
    }
}

fn back_up(folder: Folder, file: PathBuf) -> anyhow::Result<()> {
    let bytes = backup::Source::Embedded(DataDir::journal_in(&folder.data_dir)).write_to(&file)?;
    println!("{}: {bytes} bytes; the artifacts are not in it, copy their store after this", file.display());
    Ok(())
}

fn restore(folder: Folder, file: PathBuf) -> anyhow::Result<()> {
    backup::restore(&file, &folder.data_dir)?;
    println!("{} has the journal of {}", folder.data_dir.display(), file.display());
    Ok(())
}

fn start(flags: Serve) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let end = runtime.block_on(run(flags));
    // An average that is half done must not hold up the end: it is begun again at the next start.
    runtime.shutdown_background();
    end
}

async fn run(flags: Serve) -> anyhow::Result<()> {
    let mut settings = Settings::new(flags.folder.data_dir);
    settings.artifacts = flags.artifacts;
    settings.artifact_age_min = Duration::from_secs(flags.artifact_age_min_s);
    settings.heartbeat_ms = flags.heartbeat_ms;
    settings.cluster.lease_ms = flags.lease_ms;
    settings.drain = Duration::from_secs(flags.drain_s.into());
    let database = flags.database.map(|url| Database::new(&url, flags.database_ca.as_deref()));
    settings.database = database.transpose()?;

    let reserved = reserve(flags.listen, flags.insecure_allow_remote)?;
    let stop = asked_to_stop()?;
    tokio::pin!(stop);
    let coordinator = tokio::select! {
        opened = Coordinator::open_or_stand_by(settings, say_waiting) => opened?,
        () = &mut stop => return Ok(()),
    };
    let listener = reserved.listen()?;
    let address = listener.local_addr().context("cannot learn the own address")?;
    say(&format!("listening on http://{address}"));
    Ok(coordinator.run(listener, stop).await?)
}

fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    })
}

fn say_waiting(waiting: &Waiting) {
    match waiting {
        Waiting::ForLeader(leader) => say(&format!("standing by: another coordinator leads ({leader})")),
        Waiting::ForDatabase(error) => say(&format!("waiting for the database: {error}")),
    }
}

/// Whoever started this waits for such lines; a closed pipe means that nobody does.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
