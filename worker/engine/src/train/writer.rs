//! The thread that writes checkpoints while the pack goes on.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use crate::checkpoint::Checkpoint;
use crate::error::TaskError;
use crate::event::{Event, Listener};

/// A checkpoint that is to be written. It shares no memory with anything that trains.
pub(super) struct Draft {
    pub(super) checkpoint: Checkpoint,
    /// The branch point at which it stands.
    pub(super) branch: Option<u32>,
    /// The learning rate of its last step.
    pub(super) rate: f64,
    pub(super) path: PathBuf,
}

impl Draft {
    /// The last step's loss may have been finite and its update not.
    fn write(self) -> Result<Event, TaskError> {
        let Self { checkpoint, branch, rate, path } = self;
        let (run, step) = (checkpoint.run.index, checkpoint.step);
        if !checkpoint.is_finite()? {
            return Err(TaskError::Diverged { run: checkpoint.run.name, loss: f64::NAN, step, rate });
        }
        checkpoint.write(&path)?;
        Ok(Event::Checkpoint { run, step, branch, path })
    }
}

/// Writes the checkpoints of one moment at a time, so that beside a pack there is never more than one copy of it.
#[derive(Default)]
pub(super) struct Writer {
    at_work: Option<Work>,
}

struct Work {
    written: Receiver<Event>,
    thread: JoinHandle<Result<(), TaskError>>,
}

impl Writer {
    /// Begins to write checkpoints. Those before must be [finished](Writer::finish).
    pub(super) fn begin(&mut self, drafts: Vec<Draft>) -> Result<(), TaskError> {
        debug_assert!(self.at_work.is_none(), "one moment at a time");
        let Some(path) = drafts.first().map(|draft| draft.path.clone()) else { return Ok(()) };
        // Room for all: the thread waits for nobody.
        let (sender, written) = sync_channel(drafts.len());
        let write_all = move || {
            drafts.into_iter().try_for_each(|draft| {
                let _ = sender.send(draft.write()?);
                Ok(())
            })
        };
        let thread = thread::Builder::new().name("checkpoints".to_owned()).spawn(write_all);
        self.at_work = Some(Work { written, thread: thread.map_err(TaskError::file(&path))? });
        Ok(())
    }

    /// Tells of what has been written since it was last asked, without waiting.
    ///
    /// # Errors
    /// When a checkpoint could not be written.
    pub(super) fn tell(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        let Some(work) = &self.at_work else { return Ok(()) };
        work.written.try_iter().for_each(|event| listener.tell(event));
        if work.thread.is_finished() { self.finish(listener) } else { Ok(()) }
    }

    /// Waits until everything is written and told of.
    ///
    /// # Errors
    /// When a checkpoint could not be written.
    pub(super) fn finish(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        let Some(Work { written, thread }) = self.at_work.take() else { return Ok(()) };
        // Until the thread lets go of its end.
        written.into_iter().for_each(|event| listener.tell(event));
        thread.join().unwrap_or_else(|_| Err(TaskError::Panic("while a checkpoint was written".to_owned())))
    }
}

/// After a panic, too, nobody writes into the folder of a task that has ended.
impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(work) = self.at_work.take() {
            let _ = work.thread.join();
        }
    }
}
