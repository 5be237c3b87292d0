//! Where the bytes of one upload go. All of it blocks, and belongs on a thread that may.

use crate::StoreError;
use crate::folder::Folder;
use crate::hasher::Intake;
use crate::remote::Parts;
use bytes::Bytes;
use ensemble::run::Artifact;
use std::io::Write;
use tempfile::NamedTempFile;

/// An upload's destination. Nothing is an artifact before [`Sink::publish`].
#[derive(Debug)]
pub(crate) enum Sink {
    Folder(Folder, NamedTempFile),
    Remote(Box<Parts>),
}

impl Sink {
    fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        match self {
            Self::Folder(_, file) => file.write_all(&chunk).map_err(StoreError::io(file.path())),
            Self::Remote(parts) => parts.write(chunk),
        }
    }

    fn publish(self, artifact: &Artifact) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder, file) => folder.publish(file, artifact),
            Self::Remote(parts) => parts.publish(),
        }
    }

    fn discard(self) {
        match self {
            // The file is removed when it is dropped.
            Self::Folder(..) => (),
            Self::Remote(parts) => parts.discard(),
        }
    }
}

/// Stores the chunks that `next` yields, if together they are what was announced, and leaves nothing if not.
pub(crate) fn pump(
    mut sink: Sink,
    mut intake: Intake,
    mut next: impl FnMut() -> Result<Option<Bytes>, StoreError>,
) -> Result<Artifact, StoreError> {
    let mut receive = || {
        while let Some(chunk) = next()? {
            intake.take(&chunk)?;
            sink.write(chunk)?;
        }
        Ok(())
    };
    match receive().and_then(|()| intake.finish()) {
        Ok(artifact) => sink.publish(&artifact).map(|()| artifact),
        Err(error) => {
            sink.discard();
            Err(error)
        }
    }
}
