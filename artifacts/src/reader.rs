//! Getting an artifact out of the store, chunk by chunk.

use crate::source::Source;
use crate::store::Place;
use crate::{CHUNKS_ON_THE_WAY, StoreError};
use bytes::Bytes;
use ensemble::id::Digest;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// An artifact being read from its start. Dropped before the end, it stops the reading.
#[derive(Debug)]
pub struct Reader {
    bytes: u64,
    /// None is the end, with the digest found right: a queue that merely closes is no end.
    chunks: mpsc::Receiver<Result<Option<Bytes>, StoreError>>,
}

impl Reader {
    pub(crate) async fn open(place: Place, digest: Digest) -> Result<Self, StoreError> {
        let source = spawn_blocking(move || place.source(&digest)).await.map_err(|_| StoreError::GivenUp)??;
        let bytes = source.bytes();
        let (sender, chunks) = mpsc::channel(CHUNKS_ON_THE_WAY);
        spawn_blocking(move || send(source, &sender));
        Ok(Self { bytes, chunks })
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next chunk; none at the end, when the digest has been found right.
    ///
    /// # Errors
    /// When the store fails, or at the end: when the bytes are not what the name says.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.chunks.recv().await.unwrap_or(Err(StoreError::GivenUp))
    }
}

/// Reads chunks until the end, the reader's or the artifact's.
fn send(mut source: Source, chunks: &mpsc::Sender<Result<Option<Bytes>, StoreError>>) {
    loop {
        let chunk = source.next();
        let last = !matches!(chunk, Ok(Some(_)));
        if chunks.blocking_send(chunk).is_err() || last {
            return;
        }
    }
}
