//! A file system of its own for a process's folder, so that its disk can be full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// More than any test writes. Memory is taken only for what is written.
const BYTES: u64 = 8 << 30;
/// The granularity of the file system.
const PAGE_BYTES: u64 = 4096;
/// The process writes on while its disk shrinks: then it is tried again.
const SHRINKS_MAX: usize = 100;

/// A file system in memory, mounted at a folder.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    is_mounted: bool,
}

impl Disk {
    /// Mounts one at a new folder. Where that is not allowed, it is an ordinary folder, and cannot be full.
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={BYTES}"), "tutti-chaos"]).arg(&folder);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        if !is_mounted {
            eprintln!("NO FULL DISKS: a tmpfs cannot be mounted at {} (are you root?)", folder.display());
        }
        Self { folder, is_mounted }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it can be full.
    pub fn can_fill(&self) -> bool {
        self.is_mounted
    }

    /// Takes away all free space, and sees that there is none.
    pub fn fill(&self) {
        let is_full = (0..SHRINKS_MAX).any(|_| self.resize(self.used()) && self.is_full());
        assert!(is_full, "{} cannot be filled", self.folder.display());
    }

    /// Gives the space back.
    pub fn free(&self) {
        assert!(self.resize(BYTES), "{} cannot be given its space back", self.folder.display());
    }

    fn resize(&self, bytes: u64) -> bool {
        let size = format!("remount,size={}", bytes.max(PAGE_BYTES));
        Command::new("mount").args(["-o", &size]).arg(&self.folder).output().unwrap().status.success()
    }

    fn used(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.folder).unwrap();
        (space.f_blocks - space.f_bfree) * space.f_frsize
    }

    fn is_full(&self) -> bool {
        let probe = self.folder.join("probe");
        let written = fs::write(&probe, [1; PAGE_BYTES as usize]);
        let _ = fs::remove_file(probe);
        written.is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
        }
    }
}
