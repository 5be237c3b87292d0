//! Bytes whose digest is known only at the end.

use crate::folder::Folder;
use crate::hasher::{Hasher, Intake};
use crate::remote::Remote;
use crate::sink::{Sink, pump};
use crate::source::read_chunk;
use crate::{ARTIFACT_BYTES_MAX, StoreError};
use ensemble::run::Artifact;
use std::fs::File;
use std::io::{self, Seek, Write};
use tempfile::NamedTempFile;

/// A file of this machine that shall become an artifact: written to as any file, from a thread that may block. Dropped
/// before [`Draft::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    target: Target,
    hasher: Hasher,
}

#[derive(Debug)]
pub(crate) enum Target {
    /// In the store already, and without its name still.
    Folder(Folder, NamedTempFile),
    /// In the scratch folder, to be uploaded once its name is known.
    Remote(Remote, File),
}

impl Draft {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, hasher: Hasher::default() }
    }

    /// Makes the artifact exist. It blocks, as long as an upload takes.
    ///
    /// # Errors
    /// When it is larger than an artifact may be, or cannot be stored.
    pub fn commit(self) -> Result<Artifact, StoreError> {
        let artifact = self.hasher.finish();
        if artifact.bytes > ARTIFACT_BYTES_MAX {
            return Err(StoreError::TooLarge(artifact.bytes));
        }
        match self.target {
            Target::Folder(folder, file) => folder.publish(file, &artifact).map(|()| artifact),
            Target::Remote(remote, file) => upload(&remote, file, artifact),
        }
    }
}

fn upload(remote: &Remote, mut file: File, artifact: Artifact) -> Result<Artifact, StoreError> {
    let folder = remote.scratch().folder();
    file.rewind().map_err(StoreError::io(folder))?;
    let sink = Sink::Remote(Box::new(remote.parts(&artifact.digest)));
    pump(sink, Intake::new(artifact)?, || read_chunk(&mut file).map_err(StoreError::io(folder)))
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.target {
            Target::Folder(_, file) => file.write(bytes)?,
            Target::Remote(_, file) => file.write(bytes)?,
        };
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
