//! Reading bytes out of the store.

use super::{StoreError, digest_of, io_error};
use ensemble::id::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// An artifact being read from its start. The read that reaches the end fails if the bytes are not what the name says.
#[derive(Debug)]
pub struct Reader {
    file: File,
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    hash: Sha256,
}

impl Reader {
    pub(super) fn open(path: PathBuf, digest: Digest) -> Result<Self, StoreError> {
        let opened = File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match opened {
            Ok((file, bytes)) => Ok(Self { file, path, digest, bytes, hash: Sha256::new() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing(digest)),
            Err(error) => Err(io_error(&path, error)),
        }
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads on into `buffer`; 0 at the end, when the digest has been found right.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let count = self.file.read(buffer).map_err(|error| io_error(&self.path, error))?;
        if count > 0 {
            self.hash.update(&buffer[..count]);
        } else {
            self.check()?;
        }
        Ok(count)
    }

    fn check(&self) -> Result<(), StoreError> {
        let found = digest_of(self.hash.clone());
        if found == self.digest {
            return Ok(());
        }
        Err(StoreError::Damaged { digest: self.digest.clone(), found: format!("its bytes have the digest {found}") })
    }
}
