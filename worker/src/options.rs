//! The worker's flags, and what they come to.

use crate::device::{self, Device};
use crate::task::Patience;
use artifacts::Location;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::Uri;

/// A year: longer is never.
const SECONDS_MAX: f64 = 365.0 * 86400.0;

/// Works for a coordinator: trains, evaluates and serves on this host's devices.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tutti-worker", version)]
pub struct Options {
    /// Where the coordinator listens: a URL, or a host and a port. Several, separated by commas, are tried in turn.
    #[arg(
        long,
        env = "TUTTI_COORDINATOR",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7400"
    )]
    pub coordinator: Vec<String>,
    /// This worker's name, unique in the cluster [default: the host's name and the process's number].
    #[arg(long, env = "TUTTI_WORKER_NAME")]
    pub name: Option<String>,
    /// The folder for the cache and for the files of tasks at work; no two workers share one.
    #[arg(long, env = "TUTTI_WORKER_DATA_DIR", value_name = "FOLDER", default_value = ".tutti/worker")]
    pub data_dir: PathBuf,
    /// The devices, one slot each: `cpu`, `cuda:0`, … [default: every CUDA GPU, else the processor].
    #[arg(long, env = "TUTTI_DEVICES", value_delimiter = ',', value_name = "DEVICE")]
    pub devices: Vec<Device>,
    /// How many slots share the processor.
    #[arg(long, env = "TUTTI_CPU_SLOTS", value_name = "N")]
    pub cpu_slots: Option<u32>,
    /// Threads of each slot's engine [default: the cores divided by the slots].
    #[arg(long, env = "TUTTI_THREADS_PER_SLOT", value_name = "N")]
    pub threads_per_slot: Option<NonZeroUsize>,
    /// The largest size of the cache of downloaded artifacts, in bytes.
    #[arg(long, env = "TUTTI_CACHE_BYTES", value_name = "BYTES", default_value_t = 20 << 30)]
    pub cache_bytes: u64,
    /// The engine's program [default: `tutti-engine` beside this one].
    #[arg(long, env = "TUTTI_ENGINE", value_name = "PATH")]
    pub engine: Option<PathBuf>,
    /// Where artifacts lie, for a worker that reaches the store by itself: a folder, `s3://`, `gs://` or `az://`; credentials
    /// come from the environment [default: by way of the coordinator].
    #[arg(long, env = "TUTTI_ARTIFACTS", value_name = "URL")]
    pub artifacts: Option<Location>,
    /// How long a stop may take: tasks end early and store what they have; what takes longer is killed.
    #[arg(long, env = "TUTTI_DRAIN_S", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub drain_s: Duration,
    /// How long tasks go on computing without contact to the coordinator.
    #[arg(long, env = "TUTTI_AWAY_LIMIT_S", value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub away_limit_s: Duration,
    /// An engine at work is killed when it has neither said anything nor used any processor time for so long.
    #[arg(long, env = "TUTTI_STALL_S", value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub stall_s: Duration,
    /// An engine at work is killed when it has computed for so long without getting any further.
    #[arg(long, env = "TUTTI_STEP_LIMIT_S", value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub step_limit_s: Duration,
}

/// Everything that a worker must know, with no default left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where coordinators may listen, at least one address.
    pub coordinators: Vec<Uri>,
    /// This worker's name.
    pub name: String,
    /// The folder for the cache and for the files of tasks at work.
    pub data_dir: PathBuf,
    /// One slot each.
    pub devices: Vec<Device>,
    /// Threads of each slot's engine.
    pub threads_per_slot: usize,
    /// The largest size of the cache, in bytes.
    pub cache_bytes: u64,
    /// The engine's program.
    pub engine: PathBuf,
    /// Where artifacts lie, if the worker moves them by itself.
    pub artifacts: Option<Location>,
    /// How long a stop may take.
    pub drain: Duration,
    /// How long tasks go on without contact.
    pub away_limit: Duration,
    /// How long an engine at work may seem to do nothing.
    pub patience: Patience,
}

/// Flags that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The coordinator's address is none.
    #[error("`{0}` is no address of a coordinator; use http://HOST:PORT")]
    Coordinator(String),
    /// There is no engine where it should be.
    #[error("there is no engine at {}; build it with `make build`, or name it with --engine", .0.display())]
    NoEngine(PathBuf),
    /// The worker's own program cannot be found, and so neither can the engine beside it.
    #[error("cannot find the engine beside this program ({0}); name it with --engine")]
    OwnPath(std::io::Error),
}

impl Options {
    /// Fills in what was left open, and checks the rest.
    ///
    /// # Errors
    /// When the coordinator's address or the engine's path cannot be used.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let devices = device::choose(&self.devices, self.cpu_slots);
        let threads_per_slot = self.threads_per_slot.map_or_else(|| share_of_cores(devices.len()), NonZeroUsize::get);
        Ok(Config {
            coordinators: self.coordinator.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
            name: self.name.unwrap_or_else(default_name),
            data_dir: self.data_dir,
            devices,
            threads_per_slot,
            cache_bytes: self.cache_bytes,
            engine: existing(self.engine.map_or_else(engine_beside_this, Ok)?)?,
            artifacts: self.artifacts,
            drain: self.drain_s,
            away_limit: self.away_limit_s,
            patience: Patience { stall: self.stall_s, step: self.step_limit_s },
        })
    }
}

fn address(text: &str) -> Result<Uri, ConfigError> {
    let invalid = || ConfigError::Coordinator(text.to_owned());
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let address: Uri = url.parse().map_err(|_| invalid())?;
    if address.authority().is_some() { Ok(address) } else { Err(invalid()) }
}

/// A length of time that is worth waiting for, and ends.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    if (0.001..=SECONDS_MAX).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(format!("use a number of seconds from 0.001 to {SECONDS_MAX}"))
}

fn existing(engine: PathBuf) -> Result<PathBuf, ConfigError> {
    if engine.is_file() { Ok(engine) } else { Err(ConfigError::NoEngine(engine)) }
}

fn engine_beside_this() -> Result<PathBuf, ConfigError> {
    let own = std::env::current_exe().map_err(ConfigError::OwnPath)?;
    Ok(own.parent().unwrap_or(Path::new(".")).join("tutti-engine"))
}

fn share_of_cores(slots: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores / slots.max(1)).max(1)
}

/// The host's name tells people where a worker is; the process's number keeps two of one host apart.
fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "worker" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[test]
    fn an_address_needs_no_scheme() {
        assert_eq!(address("localhost:7400").unwrap().to_string(), "http://localhost:7400/");
        assert_eq!(address("https://example.org").unwrap().to_string(), "https://example.org/");
        assert!(address("http://").is_err());
        assert!(address("two words").is_err());
    }

    #[test]
    fn seconds_are_seconds() {
        assert_eq!(seconds("1.5").unwrap(), Duration::from_millis(1500));
        for text in ["", "0", "-1", "NaN", "inf", "1e99", "a minute"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_engine_is_named_with_the_remedy() {
        let options = Options::parse_from(["tutti-worker", "--engine", "/no/such/engine"]);
        let message = options.resolve().unwrap_err().to_string();
        assert!(message.contains("/no/such/engine") && message.contains("--engine"), "{message}");
    }
}
