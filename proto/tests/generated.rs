//! The committed code is what the `.proto` files generate.
#![allow(clippy::unwrap_used)]

use prost::Message;
use std::path::Path;

const FILES: [&str; 6] = ["jobs", "workers", "artifacts", "predictions", "admin", "engine"];

#[test]
fn committed_code_is_what_the_proto_files_generate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    generate(&root.join("proto"), fresh.path());
    for file in ["tutti.v1.rs", "descriptors.bin"] {
        let committed = root.join("src/generated").join(file);
        let generated = std::fs::read(fresh.path().join(file)).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&committed, &generated).unwrap();
        }
        let same = std::fs::read(&committed).is_ok_and(|bytes| bytes == generated);
        assert!(same, "{} is out of date; run `UPDATE=1 cargo test -p proto`", committed.display());
    }
}

fn generate(proto: &Path, out: &Path) {
    let descriptors = protox::compile(FILES.map(|file| format!("tutti/v1/{file}.proto")), [proto]).unwrap();
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure().bytes(".").out_dir(out).compile_fds(descriptors).unwrap();
}
