//! The repository's own order: which crate may know which, and that nothing lies about.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{root, succeed};

/// The packages that are linked into a crate, tests and build scripts aside, each as `NAME`.
fn dependencies(package: &str) -> Vec<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{lib}"]);
    let lines = succeed(tree.current_dir(root()));
    lines.lines().map(|line| line.trim().replace('_', "-")).filter(|name| !name.is_empty()).collect()
}

fn depends(package: &str, on: &str) -> bool {
    dependencies(package).iter().any(|name| name == on)
}

#[test]
fn the_domain_has_no_runtime_and_only_the_engine_has_libtorch() {
    // The same question with the other answer, so that a mistyped name cannot pass for an absent one.
    assert!(depends("engine", "torch-sys") && depends("coordinator", "tokio"));
    assert!(!depends("ensemble", "tokio") && !depends("ensemble", "tonic"));
    for package in ["ensemble", "artifacts", "proto", "coordinator", "worker", "cli"] {
        assert!(!depends(package, "torch-sys"), "{package} links libtorch");
    }
}

#[test]
fn coordinator_worker_and_cli_do_not_know_each_other() {
    assert!(depends("worker", "proto") && depends("proto", "ensemble"));
    let sides = ["coordinator", "worker", "cli", "engine"];
    for one in sides {
        for other in sides.into_iter().filter(|other| *other != one) {
            assert!(!depends(one, other), "{one} depends on {other}");
        }
    }
    assert!(!depends("ensemble", "proto"));
}

#[test]
fn the_store_is_between_the_domain_and_those_who_keep_bytes() {
    assert!(depends("artifacts", "ensemble") && depends("worker", "artifacts"));
    assert!(!depends("ensemble", "artifacts") && !depends("artifacts", "proto"));
    for package in ["proto", "engine", "cli"] {
        assert!(!depends(package, "artifacts"), "{package} reaches for the store");
    }
}

#[test]
fn tch_is_named_in_the_engine_only() {
    let names_tch = |path: &PathBuf| words(&fs::read_to_string(path).unwrap()).any(|word| word == "tch");
    let (engines, others): (Vec<_>, Vec<_>) =
        files(root(), "rs").into_iter().partition(|path| path.starts_with(root().join("worker/engine")));
    assert!(engines.iter().any(names_tch));
    let this = root().join("tests/tests/order.rs");
    let strays: Vec<_> = others.iter().filter(|path| **path != this && names_tch(path)).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn every_crate_inherits_the_workspaces_lints() {
    let manifests = member_manifests();
    assert!(manifests.len() >= 9, "{manifests:?}");
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true\n"), "{} does not inherit the lints", manifest.display());
    }
}

#[test]
fn every_source_file_belongs_to_a_module() {
    let mut dead = Vec::new();
    for manifest in member_manifests() {
        let source = manifest.with_file_name("src");
        dead.extend(files(&source, "rs").into_iter().filter(|path| !is_root(path) && !is_declared(path)));
    }
    assert!(dead.is_empty(), "no `mod` names {dead:?}");
}

fn is_root(path: &Path) -> bool {
    let is_program = path.parent().is_some_and(|folder| folder.ends_with("src/bin"));
    is_program || ["lib.rs", "main.rs"].iter().any(|name| path.ends_with(Path::new("src").join(name)))
}

/// `a/b.rs` and `a/b/mod.rs` are declared as `mod b;` in `a.rs`, `a/mod.rs`, or the root if `a` is `src`.
fn is_declared(path: &Path) -> bool {
    let path = if path.ends_with("mod.rs") { path.parent().unwrap() } else { path };
    let module = path.file_stem().unwrap().to_string_lossy();
    let folder = path.parent().unwrap();
    let parents = [folder.with_extension("rs"), folder.join("mod.rs"), folder.join("lib.rs"), folder.join("main.rs")];
    let declaration = format!("mod {module};");
    parents.iter().any(|parent| fs::read_to_string(parent).is_ok_and(|text| text.contains(&declaration)))
}

fn member_manifests() -> Vec<PathBuf> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root());
    let metadata: serde_json::Value = serde_json::from_str(&succeed(&mut metadata)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| package["manifest_path"].as_str().unwrap().into()).collect()
}

/// The files below `folder` with this extension, without what is built, fetched or generated.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = name.to_string_lossy().starts_with('.') || name == "target" || name == "generated";
        if entry.file_type().unwrap().is_dir() && !skipped {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}
