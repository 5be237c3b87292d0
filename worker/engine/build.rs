//! Compiles the C++ shim against libtorch and tells binaries where libtorch lies at run time.

use std::path::{Path, PathBuf};

const SHIM: &[&str] = &["runtime.cpp", "random.cpp"];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=shim");
    let libtorch = libtorch();
    compile_shim(&libtorch);
    emit_rpath(&libtorch);
}

/// The libtorch folder, or a message that says how to get one: without it nothing here can link.
fn libtorch() -> PathBuf {
    let libtorch = PathBuf::from(std::env::var_os("LIBTORCH").unwrap_or_default());
    let library = libtorch.join("lib/libtorch_cpu.so");
    if !library.is_file() {
        println!(
            "cargo::error=libtorch 2.11.0 is not at {}: run `make setup` once, or set LIBTORCH to a folder with lib/ and include/",
            library.display()
        );
        std::process::exit(1);
    }
    std::path::absolute(&libtorch).unwrap_or(libtorch)
}

fn compile_shim(libtorch: &Path) {
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .flag("-fopenmp")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .warnings(false)
        .include("shim")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(SHIM.iter().map(|name| format!("shim/{name}")))
        .compile("tutti_shim");
}

/// `$ORIGIN/../lib` serves images, where binaries lie in `bin/` beside `lib/`.
fn emit_rpath(libtorch: &Path) {
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
}
