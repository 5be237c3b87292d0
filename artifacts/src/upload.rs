//! Putting announced bytes into the store, chunk by chunk.

use crate::hasher::Intake;
use crate::sink::pump;
use crate::store::Place;
use crate::{CHUNKS_ON_THE_WAY, StoreError};
use bytes::Bytes;
use ensemble::run::Artifact;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes on their way into the store. Dropped before [`Upload::commit`], it leaves nothing.
///
/// Hashing and writing block, so they have a thread of their own; the queue is what the two may differ by.
#[derive(Debug)]
pub struct Upload {
    orders: mpsc::Sender<Order>,
    /// Gives the end of the thread, once.
    thread: Option<JoinHandle<Result<Artifact, StoreError>>>,
}

#[derive(Debug)]
enum Order {
    Take(Bytes),
    Commit,
}

impl Upload {
    pub(crate) fn begin(place: Place, announced: Artifact) -> Result<Self, StoreError> {
        let intake = Intake::new(announced.clone())?;
        let (orders, queue) = mpsc::channel(CHUNKS_ON_THE_WAY);
        let thread = spawn_blocking(move || receive(&place, &announced, intake, queue));
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Takes the next bytes. More than announced are refused before they are written.
    ///
    /// # Errors
    /// When they are too many, or an earlier chunk could not be written.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        match self.orders.send(Order::Take(chunk)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.end().await.err().unwrap_or(StoreError::GivenUp)),
        }
    }

    /// Makes the artifact exist, or finds that the bytes are not the announced ones.
    ///
    /// An artifact that exists already is replaced by its equal: that repairs it if it was damaged.
    ///
    /// # Errors
    /// When the bytes are others than announced, or cannot be stored.
    pub async fn commit(mut self) -> Result<Artifact, StoreError> {
        // A thread that has ended before its time says why.
        let _ = self.orders.send(Order::Commit).await;
        self.end().await
    }

    /// Gives the upload up, and waits until nothing is left of it. Dropping it does the same without waiting.
    pub async fn abandon(self) {
        let Self { orders, mut thread } = self;
        drop(orders);
        if let Some(thread) = thread.take() {
            let _ = thread.await;
        }
    }

    async fn end(&mut self) -> Result<Artifact, StoreError> {
        let Some(thread) = self.thread.take() else { return Err(StoreError::GivenUp) };
        thread.await.unwrap_or(Err(StoreError::GivenUp))
    }
}

fn receive(
    place: &Place,
    announced: &Artifact,
    intake: Intake,
    mut queue: mpsc::Receiver<Order>,
) -> Result<Artifact, StoreError> {
    pump(place.begin(&announced.digest)?, intake, || match queue.blocking_recv() {
        Some(Order::Take(chunk)) => Ok(Some(chunk)),
        Some(Order::Commit) => Ok(None),
        None => Err(StoreError::GivenUp),
    })
}
