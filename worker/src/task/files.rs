//! The files that an engine has handed over and that wait for their upload.

use proto::v1::ModelKind;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Files that may wait. All but the newest checkpoint of a run are replaced, so what is left is what a pack makes in all:
/// models, and checkpoints that other runs branch from. An engine that makes more is slowed down.
const FILES_MAX: usize = 4096;

/// A file that the engine has handed over.
#[derive(Debug, PartialEq)]
pub struct File {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub product: Product,
}

/// What a file is.
#[derive(Debug, PartialEq)]
pub enum Product {
    /// A checkpoint.
    Checkpoint {
        /// Of this run.
        run: u32,
        /// After so many steps.
        step: u64,
        /// At this branch point.
        branch: Option<u32>,
    },
    /// A model.
    Model {
        /// Of this run.
        run: u32,
        /// Which of its models.
        kind: Option<ModelKind>,
        /// Whether it has batch-norm statistics.
        batch_norm: bool,
    },
    /// The calibrated model or the predictions.
    Outcome,
}

/// The files in the order of their making.
#[derive(Debug, Default)]
pub struct Files {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    files: VecDeque<File>,
    is_complete: bool,
    /// The step of the checkpoint that was taken out last.
    begun: Option<u64>,
}

impl Files {
    /// Puts a file in. Returns the file that it makes superfluous, if there is one: while the network is slow or away, only
    /// the newest checkpoint of each run is worth its way. But a pack goes on from a step at which all of its runs have a
    /// checkpoint, so those of a step of which one is on its way already all go.
    pub async fn push(&self, file: File) -> Option<File> {
        self.has_room().await;
        let mut queue = self.queue();
        let superseded = queue.superseded_by(&file.product);
        let superseded = superseded.and_then(|place| queue.files.remove(place));
        queue.files.push_back(file);
        self.changed.notify_waiters();
        superseded
    }

    /// No more files will come.
    pub fn complete(&self) {
        self.queue().is_complete = true;
        self.changed.notify_waiters();
    }

    /// Takes the next file out; none after the last.
    pub async fn next(&self) -> Option<File> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut queue = self.queue();
                let next = queue.take();
                if next.is_some() || queue.is_complete {
                    self.changed.notify_waiters();
                    return next;
                }
            }
            changed.await;
        }
    }

    async fn has_room(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.queue().files.len() < FILES_MAX {
                return;
            }
            changed.await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn take(&mut self) -> Option<File> {
        let file = self.files.pop_front()?;
        if let Product::Checkpoint { step, .. } = file.product {
            self.begun = Some(step);
        }
        Some(file)
    }

    /// The place of the checkpoint that a newer one makes superfluous. A branch's is wanted for itself.
    fn superseded_by(&self, new: &Product) -> Option<usize> {
        let &Product::Checkpoint { run: newer, .. } = new else { return None };
        self.files.iter().position(|file| match file.product {
            Product::Checkpoint { run, step, branch: None } => run == newer && Some(step) != self.begun,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn checkpoint(run: u32, step: u64, branch: Option<u32>) -> File {
        File { path: PathBuf::new(), product: Product::Checkpoint { run, step, branch } }
    }

    #[tokio::test]
    async fn a_newer_checkpoint_of_the_same_run_replaces_one_that_waits() {
        let files = Files::default();
        assert_eq!(files.push(checkpoint(0, 1, None)).await, None);
        assert_eq!(files.push(checkpoint(1, 1, None)).await, None, "another run");
        assert_eq!(files.push(checkpoint(0, 2, Some(0))).await, Some(checkpoint(0, 1, None)));
        assert_eq!(files.push(checkpoint(0, 3, None)).await, None, "a branch's checkpoint stays");
        files.complete();
        let mut left = Vec::new();
        while let Some(file) = files.next().await {
            left.push(file);
        }
        assert_eq!(left, [checkpoint(1, 1, None), checkpoint(0, 2, Some(0)), checkpoint(0, 3, None)]);
    }

    /// Were each replaced for itself, a slow network would never leave the runs a step that all of them have.
    #[tokio::test]
    async fn checkpoints_of_a_pack_go_together_however_slow_the_way_is() {
        let files = Files::default();
        let push = async |step| {
            for run in 0..3 {
                files.push(checkpoint(run, step, None)).await;
            }
        };
        push(1).await;
        let mut stored = vec![files.next().await.unwrap()];
        for step in 2..40 {
            push(step).await;
            if step % 3 == 0 {
                stored.push(files.next().await.unwrap());
            }
        }
        let step = |file: &File| match file.product {
            Product::Checkpoint { run, step, .. } => (run, step),
            _ => unreachable!(),
        };
        let stored: Vec<_> = stored.iter().map(step).collect();
        for (place, pack) in stored.chunks_exact(3).enumerate() {
            let first = pack[0].1;
            assert_eq!(pack, [(0, first), (1, first), (2, first)], "pack {place} of {stored:?}");
        }
    }
}
