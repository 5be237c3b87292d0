//! Where the bytes of one download come from. All of it blocks, and belongs on a thread that may.

use crate::hasher::{Hasher, check};
use crate::{CHUNK_BYTES, StoreError};
use bytes::Bytes;
use ensemble::id::Digest;
use std::fs::File;
use std::io::{self, Read};

/// An artifact read from its start. The read that reaches the end fails if the bytes are not what the name says.
pub(crate) struct Source {
    digest: Digest,
    bytes: u64,
    chunks: Box<dyn FnMut() -> Result<Option<Bytes>, StoreError> + Send>,
    hasher: Hasher,
}

impl Source {
    pub(crate) fn new(
        digest: Digest,
        bytes: u64,
        chunks: impl FnMut() -> Result<Option<Bytes>, StoreError> + Send + 'static,
    ) -> Self {
        Self { digest, bytes, chunks: Box::new(chunks), hasher: Hasher::default() }
    }

    /// How many bytes the store says there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next chunk; none at the end, when the digest has been found right.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match (self.chunks)()? {
            Some(chunk) => {
                self.hasher.update(&chunk);
                self.check_size().map(|()| Some(chunk))
            }
            None => check(&self.digest, &std::mem::take(&mut self.hasher).finish()).map(|()| None),
        }
    }

    /// A store that sends more than it announced must not fill a disk.
    fn check_size(&self) -> Result<(), StoreError> {
        if self.hasher.bytes() <= self.bytes {
            return Ok(());
        }
        let found = format!("more than its {} bytes arrived", self.bytes);
        Err(StoreError::Damaged { digest: self.digest.clone(), found })
    }
}

/// The next chunk of a file; none at its end.
pub(crate) fn read_chunk(file: &mut File) -> io::Result<Option<Bytes>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok((!chunk.is_empty()).then(|| chunk.into()))
}
