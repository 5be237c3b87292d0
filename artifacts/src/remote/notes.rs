//! Notes of uploads that are under way.
//!
//! The parts of an upload that nobody completes or aborts stay, cost money, and appear in no listing of objects. So each
//! multipart upload leaves a note at its start and takes it away at its end; a note that has grown old without being
//! renewed belongs to a process that was killed, and a sweep aborts the upload that it names.

use super::Objects;
use super::errors::failed;
use crate::StoreError;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{MultipartId, ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// No note is larger: identifiers of uploads have some hundred bytes.
const NOTE_BYTES_MAX: u64 = 16 << 10;

/// The notes of one store.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    location: Arc<str>,
    objects: Arc<dyn Objects>,
    folder: Path,
}

/// A multipart upload, and where its note lies.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub(super) path: Path,
    pub(super) id: MultipartId,
    note: Path,
}

#[derive(Serialize, Deserialize)]
struct Note {
    path: String,
    id: String,
}

impl Notes {
    pub(super) fn new(location: Arc<str>, objects: Arc<dyn Objects>, folder: Path) -> Self {
        Self { location, objects, folder }
    }

    /// Begins an upload to `path`, and notes it before anything was sent.
    pub(super) async fn begin(&self, path: Path) -> Result<Noted, StoreError> {
        let id = self.objects.create_multipart(&path).await.map_err(|error| failed(&self.location, error))?;
        let name = format!("{:032x}", fastrand::u128(..));
        let noted = Noted { path, id, note: self.folder.clone().join(name) };
        match self.renew(&noted).await {
            Ok(()) => Ok(noted),
            Err(error) => {
                self.abort(&noted).await;
                Err(error)
            }
        }
    }

    /// Makes the note young again: the upload goes on.
    pub(super) async fn renew(&self, noted: &Noted) -> Result<(), StoreError> {
        let note = Note { path: noted.path.to_string(), id: noted.id.clone() };
        let note = serde_json::to_vec(&note).expect("two strings are JSON");
        self.objects.put(&noted.note, note.into()).await.map_err(|error| failed(&self.location, error))?;
        Ok(())
    }

    /// Takes the note away after the upload's end. If that fails, the next sweep finds that there is nothing to abort.
    pub(super) async fn close(&self, noted: &Noted) {
        if let Err(error) = self.objects.delete(&noted.note).await {
            tracing::debug!(%error, "the note of an upload stays until it is swept");
        }
    }

    /// Gives an upload up, as well as can be done now. If that fails, a sweep repeats it.
    pub(super) async fn abort(&self, noted: &Noted) {
        match self.objects.abort_multipart(&noted.path, &noted.id).await {
            Ok(()) => self.close(noted).await,
            Err(error) => tracing::debug!(%error, "an upload stays until it is swept"),
        }
    }

    /// Aborts uploads whose notes are older than `age_min`.
    pub(super) async fn sweep(&self, age_min: Duration) -> Result<u64, StoreError> {
        let (mut swept, now) = (0, SystemTime::now());
        let mut notes = self.objects.list(Some(&self.folder));
        while let Some(note) = notes.try_next().await.map_err(|error| failed(&self.location, error))? {
            let age = now.duration_since(note.last_modified.into()).unwrap_or_default();
            if age >= age_min {
                self.sweep_one(&note).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn sweep_one(&self, note: &ObjectMeta) -> Result<(), StoreError> {
        if let Some(noted) = self.read(note).await? {
            // An upload that was completed or aborted before is not known any more, which stores say in various ways.
            if let Err(error) = self.objects.abort_multipart(&noted.path, &noted.id).await {
                let error = failed(&self.location, error);
                if matches!(error, StoreError::Unavailable { .. }) {
                    return Err(error);
                }
            }
        }
        match self.objects.delete(&note.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&self.location, error)),
        }
    }

    /// What a note names; nothing if it is gone meanwhile, or no note.
    async fn read(&self, note: &ObjectMeta) -> Result<Option<Noted>, StoreError> {
        if note.size > NOTE_BYTES_MAX {
            return Ok(None);
        }
        let content = match self.objects.get(&note.location).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            got => got.map_err(|error| failed(&self.location, error))?,
        };
        let content = content.bytes().await.map_err(|error| failed(&self.location, error))?;
        let Ok(Note { path, id }) = serde_json::from_slice(&content) else { return Ok(None) };
        Ok(Some(Noted { path: Path::from(path), id, note: note.location.clone() }))
    }
}
