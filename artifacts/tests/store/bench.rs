//! A store to try, and the folder behind it.

use crate::server::{BUCKET, SECRET_KEY, environment, serve};
use artifacts::{Location, Scratch, Store, measure};
use ensemble::run::Artifact;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where the prefix of every S3 test is.
const PREFIX: &str = "some/prefix";

/// A store, and where its bytes lie.
pub struct Bench {
    pub store: Store,
    pub scratch: PathBuf,
    root: TempDir,
    remote: bool,
}

impl Bench {
    pub async fn folder() -> Self {
        let root = tempfile::tempdir().unwrap();
        let scratch = root.path().join("scratch");
        let store = Store::open_folder(root.path().join("store")).unwrap();
        Self { store, scratch, root, remote: false }
    }

    pub async fn s3() -> Self {
        Self::s3_behind(async |server| server).await
    }

    /// An S3 server, and whatever stands before it.
    pub async fn s3_behind(front: impl AsyncFnOnce(SocketAddr) -> SocketAddr) -> Self {
        let root = tempfile::tempdir().unwrap();
        let scratch = root.path().join("scratch");
        fs::create_dir(root.path().join("store")).unwrap();
        let address = front(serve(&root.path().join("store")).await).await;
        let store = connect(address, SECRET_KEY, &scratch, 100 << 20).await.unwrap();
        Self { store, scratch, root, remote: true }
    }

    /// The file that has an artifact's bytes.
    pub fn file(&self, artifact: &Artifact) -> PathBuf {
        let (root, digest) = (self.root.path().join("store"), artifact.digest.as_str());
        match self.remote {
            true => root.join(BUCKET).join(PREFIX).join("artifacts").join(digest),
            false => root.join(&digest[..2]).join(digest),
        }
    }

    /// Whatever lies in the store, artifacts or not.
    pub fn content(&self) -> Vec<PathBuf> {
        // The server keeps notes of its own about objects, and forgets none of them.
        let own = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        files(&self.root.path().join("store")).into_iter().filter(|path| !own(path)).collect()
    }
}

/// The store on an S3 server.
pub async fn connect(
    address: SocketAddr,
    secret: &str,
    scratch: &Path,
    scratch_bytes: u64,
) -> Result<Store, artifacts::StoreError> {
    let location: Location = format!("s3://{BUCKET}/{PREFIX}").parse().unwrap();
    let scratch = Scratch::in_folder(scratch.to_owned(), scratch_bytes);
    Store::open_with(&location, scratch, environment(address, secret)).await
}

/// Every regular file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What the bytes are called.
pub fn artifact(content: &[u8]) -> Artifact {
    measure(&mut &*content).unwrap()
}

/// Bytes that no compression and no repetition makes alike.
pub fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut content = vec![0; bytes];
    random.fill(&mut content);
    content
}
