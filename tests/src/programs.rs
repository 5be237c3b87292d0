//! The programs under test, built from the sources as they are now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The path of one of our programs.
pub fn program(name: &str) -> PathBuf {
    let path = PROGRAMS.join(name);
    assert!(path.is_file(), "{} is missing, though everything was built", path.display());
    path
}

/// The folder of the programs: the one that `TUTTI_PROGRAMS` names, to test what is installed; else the one of this test.
/// Cargo builds a test's own crate only, not the programs of others: so that is done here, once, in the profile of this
/// test. Where all is built, it takes a second.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(folder) = std::env::var_os("TUTTI_PROGRAMS") {
        return folder.into();
    }
    // target/PROFILE/deps/TEST
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap().to_owned();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("{} lies in no target folder", own.display()),
    };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bins", "--profile", profile]).current_dir(root());
    // What Cargo tells this test of itself are changes to build scripts that look at it: they would have half of all
    // dependencies built again.
    let of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_test)) {
        build.env_remove(name);
    }
    crate::succeed(&mut build);
    folder
});
