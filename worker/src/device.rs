//! What a slot computes on.

use std::fmt;
use std::str::FromStr;

/// A slot's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The host's processor.
    Cpu,
    /// A CUDA GPU, by its number among those that this process can see.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no device; use `cpu` or `cuda:N`")]
pub struct InvalidDevice(String);

impl FromStr for Device {
    type Err = InvalidDevice;

    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        let invalid = || InvalidDevice(text.to_owned());
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            Some(("cuda", number)) => number.parse().map(Self::Cuda).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }
}

/// The devices that a worker uses: those asked for, else every GPU, else the processor. `cpu_slots` says how many slots
/// share the processor, whatever the list says of it.
pub fn choose(asked: &[Device], cpu_slots: Option<u32>) -> Vec<Device> {
    let mut devices = if asked.is_empty() { visible_gpus() } else { asked.to_vec() };
    if let Some(slots) = cpu_slots {
        devices.retain(|device| *device != Device::Cpu);
        devices.extend((0..slots).map(|_| Device::Cpu));
    }
    if devices.is_empty() {
        devices.push(Device::Cpu);
    }
    devices
}

/// The GPUs that this process may use. Their numbers run from 0 whatever their device files are called, because CUDA
/// numbers what it sees.
fn visible_gpus() -> Vec<Device> {
    let count = match device_files() {
        0 => listed_gpus(),
        files => files,
    };
    (0..count).map(Device::Cuda).collect()
}

/// Counts `/dev/nvidia0`, `/dev/nvidia1`, …
fn device_files() -> u32 {
    let Ok(entries) = std::fs::read_dir("/dev") else { return 0 };
    let is_gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let gpus = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_gpu));
    u32::try_from(gpus.count()).unwrap_or(u32::MAX)
}

/// Counts the lines of `nvidia-smi -L` that describe a GPU, for hosts whose device files are called otherwise.
fn listed_gpus() -> u32 {
    let Ok(listing) = std::process::Command::new("nvidia-smi").arg("-L").output() else { return 0 };
    let lines = String::from_utf8_lossy(&listing.stdout).lines().filter(|line| line.starts_with("GPU ")).count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in ["cpu", "cuda:0", "cuda:17"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cpu:0"] {
            assert_eq!(text.parse::<Device>(), Err(InvalidDevice(text.to_owned())));
        }
    }

    #[test]
    fn cpu_slots_replace_the_processor_and_leave_the_gpus() {
        use Device::{Cpu, Cuda};
        assert_eq!(choose(&[Cpu], None), [Cpu]);
        assert_eq!(choose(&[Cpu, Cpu], None), [Cpu, Cpu]);
        assert_eq!(choose(&[Cuda(0), Cpu], Some(2)), [Cuda(0), Cpu, Cpu]);
        assert_eq!(choose(&[Cpu], Some(0)), [Cpu], "a worker has at least one slot");
    }
}
