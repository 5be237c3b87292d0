//! Compiles the C++ shim against libtorch and tells binaries where libtorch lies at run time.

use std::path::{Path, PathBuf};

const SHIM: &[&str] = &["runtime.cpp", "random.cpp", "norm.cpp", "optimizer.cpp", "dispatch.cpp"];

/// The instruction sets that kernels are compiled for on x86-64: the name of the table, and the compiler's flags.
const INSTRUCTION_SETS: &[(&str, &[&str])] = &[
    ("kernels_baseline", &[]),
    ("kernels_avx2", &["-march=x86-64-v3"]),
    ("kernels_avx512", &["-march=x86-64-v4", "-mprefer-vector-width=512"]),
    ("kernels_avx512_bf16", &["-march=x86-64-v4", "-mprefer-vector-width=512", "-mavx512bf16"]),
];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=shim");
    let libtorch = libtorch();
    compile_kernels();
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

/// Kernels include nothing of libtorch, so that compiling them once for each instruction set is cheap.
fn compile_kernels() {
    let is_x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let sets = if is_x86 { INSTRUCTION_SETS } else { &INSTRUCTION_SETS[..1] };
    for (table, flags) in sets {
        let mut build = base();
        build.define("TUTTI_TABLE", *table).file("shim/kernels.cpp");
        for flag in *flags {
            build.flag(flag);
        }
        build.compile(table);
    }
}

fn base() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).warnings(false).include("shim");
    build.flag("-fno-math-errno").flag("-fno-trapping-math").flag("-Wno-psabi");
    build
}

fn compile_shim(libtorch: &Path) {
    let include = libtorch.join("include");
    base()
        .flag("-fopenmp")
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
