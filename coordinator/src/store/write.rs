//! Putting bytes into the store.

use super::{ARTIFACT_BYTES_MAX, Store, StoreError, digest_of, io_error};
use ensemble::run::Artifact;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes on their way into the store. Dropped before [`Upload::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    announced: Option<Artifact>,
    file: File,
    temporary: TemporaryFile,
    hash: Sha256,
    bytes: u64,
}

impl Upload {
    pub(super) fn begin(store: Store, announced: Option<Artifact>) -> Result<Self, StoreError> {
        let path = store.temporary_path();
        let file = File::options().write(true).create_new(true).open(&path).map_err(|error| io_error(&path, error))?;
        Ok(Self { store, announced, file, temporary: TemporaryFile(path), hash: Sha256::new(), bytes: 0 })
    }

    /// Takes the next bytes. More than announced are refused before they are written.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.bytes += chunk.len() as u64;
        match &self.announced {
            Some(announced) if self.bytes > announced.bytes => {
                return Err(StoreError::Mismatch(format!("more than the {} bytes announced", announced.bytes)));
            }
            None if self.bytes > ARTIFACT_BYTES_MAX => return Err(StoreError::TooLarge(self.bytes)),
            _ => (),
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).map_err(|error| io_error(&self.temporary.0, error))
    }

    /// Makes the artifact exist, or finds that the bytes are not the announced ones.
    ///
    /// An artifact that exists already is replaced by its equal: that costs nothing, and repairs it if it was damaged.
    pub fn commit(self) -> Result<Artifact, StoreError> {
        let Self { store, announced, file, temporary, hash, bytes } = self;
        let artifact = Artifact { digest: digest_of(hash), bytes };
        if let Some(announced) = announced {
            check(&announced, &artifact)?;
        }
        file.sync_all().map_err(|error| io_error(&temporary.0, error))?;
        let path = store.path(&artifact.digest);
        let folder = path.parent().expect("an artifact lies in a folder of the store");
        fs::create_dir_all(folder).map_err(|error| io_error(folder, error))?;
        fs::rename(&temporary.0, &path).map_err(|error| io_error(&path, error))?;
        // The new name, and the folder if it is new, are only safe once the folders themselves are.
        sync_folder(folder)?;
        sync_folder(&store.root)?;
        Ok(artifact)
    }
}

fn check(announced: &Artifact, received: &Artifact) -> Result<(), StoreError> {
    if received.bytes != announced.bytes {
        return Err(StoreError::Mismatch(format!("{} bytes of {} arrived", received.bytes, announced.bytes)));
    }
    if received.digest != announced.digest {
        return Err(StoreError::Mismatch(format!("the digest is {}, not {}", received.digest, announced.digest)));
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error(folder, error))
}

/// Removes the file when it is dropped. After the rename there is nothing left to remove, which is fine.
#[derive(Debug)]
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
