//! An upload in parts.

use super::Remote;
use super::errors::failed;
use super::notes::Noted;
use crate::StoreError;
use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// After so many parts, the upload's note is renewed: it must not seem abandoned because it is long.
const PARTS_PER_NOTE: usize = 16;

/// The bytes of one artifact on their way into an object store. All of it blocks.
#[derive(Debug)]
pub(crate) struct Parts {
    remote: Remote,
    path: Path,
    /// The next part as far as it has come.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// None while all that came fits into one request.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    noted: Noted,
    sending: JoinSet<Result<(usize, PartId), StoreError>>,
    sent: BTreeMap<usize, PartId>,
    /// The number of the next part.
    next: usize,
}

impl Parts {
    pub(super) fn new(remote: Remote, path: Path) -> Self {
        Self { remote, path, gathered: Vec::new(), gathered_bytes: 0, begun: None }
    }

    pub(crate) fn write(&mut self, mut chunk: Bytes) -> Result<(), StoreError> {
        while self.gathered_bytes + chunk.len() > self.remote.part_bytes {
            self.gather(chunk.split_to(self.remote.part_bytes - self.gathered_bytes));
            self.send()?;
        }
        self.gather(chunk);
        Ok(())
    }

    /// Makes the object exist.
    pub(crate) fn publish(mut self) -> Result<(), StoreError> {
        let published = self.finish();
        if published.is_err() {
            self.discard();
        }
        published
    }

    /// Gives the upload up.
    pub(crate) fn discard(self) {
        let Some(Begun { noted, mut sending, .. }) = self.begun else { return };
        let Remote { runtime, notes, .. } = self.remote;
        runtime.block_on(async {
            // A part that arrives after the abort would stay.
            sending.shutdown().await;
            notes.abort(&noted).await;
        });
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        if self.begun.is_none() {
            let (whole, Remote { runtime, objects, location, .. }) = (self.take_gathered(), &self.remote);
            runtime.block_on(objects.put(&self.path, whole)).map_err(|error| failed(location, error))?;
            return Ok(());
        }
        self.send()?;
        let Self { remote: Remote { runtime, objects, location, notes, .. }, begun: Some(begun), .. } = self else {
            return Ok(());
        };
        runtime.block_on(async {
            while !begun.sending.is_empty() {
                begun.harvest().await?;
            }
            let (parts, noted) = (std::mem::take(&mut begun.sent), &begun.noted);
            let completed = objects.complete_multipart(&noted.path, &noted.id, parts.into_values().collect()).await;
            completed.map_err(|error| failed(location, error))?;
            notes.close(noted).await;
            Ok(())
        })
    }

    fn gather(&mut self, piece: Bytes) {
        self.gathered_bytes += piece.len();
        self.gathered.push(piece);
    }

    fn take_gathered(&mut self) -> PutPayload {
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered).into_iter().collect()
    }

    /// Sends what is gathered as the next part, once there is a place for it.
    fn send(&mut self) -> Result<(), StoreError> {
        let payload = self.take_gathered();
        let Self { remote, path, begun, .. } = self;
        remote.runtime.clone().block_on(async {
            let begun = match begun {
                Some(begun) => begun,
                None => begun.insert(Begun::new(remote.notes.begin(path.clone()).await?)),
            };
            begun.send(remote, payload).await
        })
    }
}

impl Begun {
    fn new(noted: Noted) -> Self {
        Self { noted, sending: JoinSet::new(), sent: BTreeMap::new(), next: 0 }
    }

    async fn send(&mut self, remote: &Remote, payload: PutPayload) -> Result<(), StoreError> {
        let slot = remote.part_slots.clone().acquire_owned().await.map_err(|_| StoreError::GivenUp)?;
        while let Some(sent) = self.sending.try_join_next() {
            self.note_sent(sent)?;
        }
        let number = self.next;
        self.next += 1;
        if self.next.is_multiple_of(PARTS_PER_NOTE) {
            remote.notes.renew(&self.noted).await?;
        }
        let (remote, Noted { path, id, .. }) = (remote.clone(), self.noted.clone());
        self.sending.spawn(async move {
            let sent = remote.objects.put_part(&path, &id, number, payload).await;
            drop(slot);
            Ok((number, sent.map_err(|error| failed(&remote.location, error))?))
        });
        Ok(())
    }

    async fn harvest(&mut self) -> Result<(), StoreError> {
        match self.sending.join_next().await {
            Some(sent) => self.note_sent(sent),
            None => Ok(()),
        }
    }

    fn note_sent(
        &mut self,
        sent: Result<Result<(usize, PartId), StoreError>, tokio::task::JoinError>,
    ) -> Result<(), StoreError> {
        let (number, part) = sent.map_err(|_| StoreError::GivenUp)??;
        self.sent.insert(number, part);
        Ok(())
    }
}
