//! Failing system calls, by libfiu: a library that is loaded before the C library and told by pipes what is to fail.

use super::process::is_dead;
use rustix::process::Pid;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's package `libfiu0` puts its libraries.
const LIBRARIES: &str = "/usr/lib/fiu";
/// `EIO`, an error of the device itself.
const INPUT_OUTPUT_ERROR: i32 = 5;

/// Control over processes that were started with its environment.
#[derive(Debug)]
pub struct Libfiu {
    pipes: PathBuf,
}

impl Libfiu {
    /// With its pipes in a folder. None where it is not installed.
    pub fn find(folder: &Path) -> Option<Self> {
        let is_installed = Path::new(LIBRARIES).join("fiu_run_preload.so").is_file()
            && Command::new("fiu-ctrl").arg("-h").output().is_ok();
        if !is_installed {
            eprintln!("NO FAILING DISKS: libfiu is missing; on Debian: apt-get install libfiu0 fiu-utils");
        }
        is_installed.then(|| Self { pipes: folder.join("fiu") })
    }

    /// What a process must be started with.
    pub fn environment(&self) -> [(OsString, OsString); 2] {
        let libraries = ["fiu_run_preload.so", "fiu_posix_preload.so"].map(|name| format!("{LIBRARIES}/{name}"));
        [("LD_PRELOAD".into(), libraries.join(" ").into()), ("FIU_CTRL_FIFO".into(), self.pipes.clone().into())]
    }

    /// From now on these calls of a process fail with `EIO`.
    pub fn fail(&self, process: Pid, calls: &[&str]) {
        for call in calls {
            let command = format!("enable name={call},failinfo={INPUT_OUTPUT_ERROR}");
            self.command(process, &command).unwrap_or_else(|said| panic!("libfiu does not `{command}`: {said}"));
        }
    }

    /// They do no longer. A process that has ended meanwhile needs no healing.
    pub fn heal(&self, process: Pid, calls: &[&str]) {
        for call in calls.iter().take_while(|_| !is_dead(process)) {
            let command = format!("disable name={call}");
            let said = self.command(process, &command).err();
            assert!(said.is_none() || is_dead(process), "libfiu does not `{command}`: {said:?}");
        }
    }

    /// What it says if it does not obey.
    fn command(&self, process: Pid, text: &str) -> Result<(), String> {
        // A process that dies in this moment leaves a pipe that nobody reads, for which `fiu-ctrl` would wait for ever.
        let mut control = Command::new("timeout");
        control
            .args(["20", "fiu-ctrl", "-f"])
            .arg(&self.pipes)
            .args(["-c", text])
            .arg(process.as_raw_nonzero().to_string());
        let output = control.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let obeyed = output.status.success() && said.trim().is_empty();
        if obeyed { Ok(()) } else { Err(format!("{} {said}", output.status)) }
    }
}
