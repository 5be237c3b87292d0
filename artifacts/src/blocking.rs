//! The store's face for threads that may block: averaging and combining.
//!
//! These functions wait for an object store, so none of them may be called from asynchronous code.

use crate::draft::Target;
use crate::scratch::LocalFile;
use crate::store::{Place, Store};
use crate::{Draft, StoreError};
use ensemble::id::Digest;
use ensemble::run::Artifact;

impl Store {
    /// An artifact's bytes, checked, where there are at most `bytes_max`.
    ///
    /// # Errors
    /// When there is no such artifact, it is damaged or too large, or the store fails.
    pub fn blocking_read(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let mut source = self.place.source(digest)?;
        if source.bytes() > bytes_max {
            return Err(StoreError::TooLargeToRead { digest: digest.clone(), bytes: source.bytes(), bytes_max });
        }
        let mut content = Vec::with_capacity(source.bytes() as usize);
        while let Some(chunk) = source.next()? {
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }

    /// Artifacts as files for random access, each after one pass over it that has checked its digest.
    ///
    /// # Errors
    /// When one is missing or damaged, all together are too large for the scratch folder, or the store fails.
    pub fn blocking_files(&self, artifacts: &[Artifact]) -> Result<Vec<LocalFile>, StoreError> {
        match &self.place {
            Place::Folder(folder) => folder.checked_files(artifacts),
            Place::Remote(remote) => remote.checked_files(artifacts),
        }
    }

    /// Starts to store bytes whose digest is known only at the end. Nothing exists before [`Draft::commit`].
    ///
    /// # Errors
    /// When there is no file to be had for it.
    pub fn blocking_draft(&self) -> Result<Draft, StoreError> {
        let target = match &self.place {
            Place::Folder(folder) => Target::Folder(folder.clone(), folder.begin()?),
            Place::Remote(remote) => Target::Remote(remote.clone(), remote.scratch().file()?),
        };
        Ok(Draft::new(target))
    }
}
