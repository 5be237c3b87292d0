//! The libtorch that this process runs on: its version, its CUDA half, and the allocator below it.
//!
//! One binary serves CPU and CUDA. It links the CPU half alone; the CUDA half is opened at start where it lies beside
//! it. libtorch caches its answer to "is CUDA here?" at the first question, so [`initialize`] must come first in `main`.

use std::ffi::{CStr, CString, OsStr, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::shim;

/// The only version that the bindings and the shim were compiled for.
pub const VERSION: &str = "2.11.0";

/// Why the loaded libtorch cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibtorchError {
    /// The library at run time is not the one that the engine was built for.
    #[error(
        "libtorch {found} is loaded from {folder}, but this engine needs {VERSION}: run `make setup`, or point the library path at {VERSION}"
    )]
    Version {
        /// What the library says of itself.
        found: String,
        /// Where it was loaded from.
        folder: PathBuf,
    },
    /// The CUDA half is installed but cannot be opened.
    #[error(
        "{path} is present but cannot be opened: {reason}; install its missing libraries, or remove it to run on CPU"
    )]
    Cuda {
        /// The library that was tried.
        path: PathBuf,
        /// What the dynamic loader said.
        reason: String,
    },
    /// libtorch threw while it was asked about itself.
    #[error("libtorch does not answer: {0}")]
    Silent(String),
}

/// Whether the CUDA half of libtorch was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuda {
    /// Opened; whether a GPU is there is another question.
    Loaded,
    /// Not installed: this process computes on CPU.
    Absent,
}

/// Opens the CUDA half where it is present, checks the version, and has cuDNN and the allocator do as we need. Call it once, before anything
/// else touches libtorch.
pub fn initialize() -> Result<Cuda, LibtorchError> {
    keep_freed_memory();
    let cuda = load_cuda_if_present()?;
    check_version()?;
    shim::be_deterministic().map_err(|error| LibtorchError::Silent(error.to_string()))?;
    Ok(cuda)
}

/// Opens `libtorch_cuda.so` if it lies beside the loaded `libtorch_cpu.so`, its symbols visible to all.
pub fn load_cuda_if_present() -> Result<Cuda, LibtorchError> {
    let path = library_folder().join("libtorch_cuda.so");
    if !path.exists() {
        return Ok(Cuda::Absent);
    }
    open_globally(&path).map_err(|reason| LibtorchError::Cuda { path, reason })?;
    Ok(Cuda::Loaded)
}

/// Refuses a libtorch of another version than [`VERSION`].
pub fn check_version() -> Result<(), LibtorchError> {
    let config = shim::show_config().map_err(|error| LibtorchError::Silent(error.to_string()))?;
    let found = version_in(&config).unwrap_or("of unknown version");
    if found == VERSION {
        return Ok(());
    }
    Err(LibtorchError::Version { found: found.to_owned(), folder: library_folder() })
}

/// libtorch prints its build settings as `NAME=value, `; the version is one of them.
fn version_in(config: &str) -> Option<&str> {
    let (_, rest) = config.split_once("TORCH_VERSION=")?;
    rest.split([',', '+', '\n']).next()
}

fn open_globally(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the name is a valid C string; the handle is never closed, so that its symbols stay valid.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() { Err(loader_error()) } else { Ok(()) }
}

fn loader_error() -> String {
    // SAFETY: dlerror returns null or a C string that stays valid until the next dl* call of this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() { "unknown reason".to_owned() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

/// The folder of the loaded `libtorch_cpu.so`, found through one of its symbols.
fn library_folder() -> PathBuf {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr fills the struct when it returns non-zero, and its file name lives as long as the library.
    let file = unsafe {
        let known = libc::dladdr(shim::address_in_libtorch(), found.as_mut_ptr()) != 0;
        let name = found.assume_init().dli_fname;
        if !known || name.is_null() {
            return PathBuf::new();
        }
        PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes()))
    };
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Each training step frees what the next one allocates again. glibc would hand large blocks back to the kernel in
/// between, and every page would fault in anew.
fn keep_freed_memory() {
    const KEEP: c_int = c_int::MAX;
    // SAFETY: mallopt only changes the allocator's parameters.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEEP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_loaded_libtorch_is_the_one_we_were_built_for() {
        initialize().unwrap();
    }

    #[test]
    fn a_library_that_cannot_be_opened_is_named_with_the_reason() {
        let path = std::env::temp_dir().join(format!("libtorch_cuda-{}.so", std::process::id()));
        std::fs::write(&path, "not a library").unwrap();
        let reason = open_globally(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let error = LibtorchError::Cuda { path: path.clone(), reason }.to_string();
        assert!(error.starts_with(&format!("{} is present but cannot be opened: ", path.display())), "{error}");
        assert!(error.contains("too short") && error.ends_with("or remove it to run on CPU"), "{error}");
    }

    #[test]
    fn another_version_is_refused_with_the_remedy() {
        let error = LibtorchError::Version { found: "2.10.0".to_owned(), folder: "/opt/libtorch/lib".into() };
        let expected = "libtorch 2.10.0 is loaded from /opt/libtorch/lib, but this engine needs 2.11.0";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn version_is_found_among_build_settings() {
        assert_eq!(version_in("CXX=g++, TORCH_VERSION=2.11.0, USE_CUDA=ON"), Some("2.11.0"));
        assert_eq!(version_in("TORCH_VERSION=2.10.1+cpu, "), Some("2.10.1"));
        assert_eq!(version_in("nothing"), None);
    }
}
