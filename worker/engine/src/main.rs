//! `tutti-engine`: the only program that links libtorch. A worker starts one for each of its slots.

use anyhow::{Context, bail};
use clap::Parser;
use engine::{libtorch, pipe};
use tch::{Cuda, Device};

/// Trains, evaluates and answers for one slot of a worker, which speaks to it over standard input and output.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// What to compute on: `cpu` or `cuda:N`.
    #[arg(long, env = "TUTTI_DEVICE", default_value = "cpu")]
    device: String,
    /// Threads for computing on the processor; one for each core if absent.
    #[arg(long, env = "TUTTI_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let output = pipe::take_stdout().context("cannot take standard output")?;
    libtorch::initialize()?;
    let device = find_device(&options.device)?;
    if let Some(threads) = options.threads {
        tch::set_num_threads(threads.into());
    }
    pipe::serve(device, &options.device, output).context("the worker is gone")
}

fn find_device(name: &str) -> anyhow::Result<Device> {
    let number = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        Some(("cuda", number)) => number.parse::<u16>().ok(),
        _ => None,
    };
    let Some(number) = number else { bail!("`{name}` is no device; use `cpu` or `cuda:N`") };
    let found = Cuda::device_count();
    if i64::from(number) >= found {
        bail!(
            "there is no {name}: libtorch finds {found} CUDA devices; check the driver and that libtorch_cuda.so is installed"
        );
    }
    Ok(Device::Cuda(number.into()))
}
