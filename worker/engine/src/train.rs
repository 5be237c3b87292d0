//! The training loop.
//!
//! A task trains a pack of runs side by side. Set-up is in [`pack`], what a report says in [`meter`], averages along
//! the way in [`averages`], what is written in [`output`] and by whom in [`writer`], and when a run stops early in
//! [`stopping`]. The loop is here.

mod averages;
mod meter;
mod output;
mod pack;
mod stopping;
mod writer;

use std::rc::Rc;

use tch::Kind;

use crate::data::{Data, EvaluationBatches};
use crate::error::TaskError;
use crate::event::{Event, Listener};
use crate::nn::Mode;
use crate::optimizer::LearningRates;
use crate::scoring::{self, Score, cross_entropy};
use crate::session::{Session, TrainTask};
use meter::Meter;
use pack::{Pack, Start};

/// Trains the runs of a task to their ends.
///
/// # Errors
/// When the job or its data cannot work, the loss is no longer finite, memory runs out, or the listener says stop; in
/// the last case the state is left behind as checkpoints.
pub fn train(session: &mut Session, task: &TrainTask, listener: &mut dyn Listener) -> Result<(), TaskError> {
    let data = session.data.load(&task.job.data)?;
    let starts = task.runs.iter().map(|run| Start::read(&task.job, &data, run)).collect::<Result<Vec<_>, _>>()?;
    for group in pack::groups(starts) {
        let mut pack = Pack::new(task, Rc::clone(&data), group, session.device)?;
        let trained = pack.train(listener);
        // However it ended: what it has left behind is worth telling of.
        pack.writer.finish(listener).and(trained)?;
    }
    Ok(())
}

impl Pack {
    fn train(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        listener.tell(Event::Log(self.start_line()));
        let mut meter = Meter::new(self.step);
        self.write_due_checkpoints(listener)?;
        while !self.is_done() {
            if listener.must_stop() {
                self.write_checkpoints(listener)?;
                return Err(TaskError::Stopped);
            }
            let rates = self.rates();
            let batch = self.batches.at(self.step, &self.data.train)?;
            let logits = self.network.forward(&batch.images, Mode::Train { step: self.step })?;
            let losses = cross_entropy(&logits, &batch.labels, self.recipe().regularize.label_smoothing)?;
            // The mean over each member's own batch, summed over members: each gets the gradient that it gets alone.
            let losses = losses.f_mean_dim([1i64].as_slice(), false, Kind::Float)?;
            let gradients = self.network.gradients(&losses.f_sum(Kind::Float)?)?;
            self.optimizer.step(self.network.arena_mut(), &gradients, &LearningRates::new(rates))?;
            self.averages.after_step(&self.network, self.step)?;
            self.step += 1;

            meter.record(&losses, &logits, &batch.labels)?;
            if meter.is_due() && !self.is_epoch_end() {
                meter.report(self, listener)?;
            }
            if self.is_epoch_end() {
                self.end_epoch(&mut meter, listener)?;
            }
            self.writer.tell(listener)?;
            self.write_snapshots(listener)?;
            self.write_due_checkpoints(listener)?;
        }
        self.write_models_of_the_end(listener)
    }

    fn end_epoch(&mut self, meter: &mut Meter, listener: &mut dyn Listener) -> Result<(), TaskError> {
        self.averages.after_epoch(&self.network)?;
        for (member, score) in self.scores(listener)? {
            self.members[member].score = Some(score);
        }
        meter.report(self, listener)?;
        self.stop_early(listener)
    }

    /// The score of each member that goes on and has samples to be scored on.
    fn scores(&mut self, listener: &mut dyn Listener) -> Result<Vec<(usize, Score)>, TaskError> {
        let scored: Vec<&[i64]> = self.members.iter().map(|member| member.selection.scored()).collect();
        if scored.iter().any(|samples| samples.is_empty()) {
            return Ok(Vec::new());
        }
        let normalizations: Vec<_> = self.members.iter().map(|member| member.normalization.clone()).collect();
        let size = scoring::batch_size(self.network.width());
        let data: &Data = &self.data;
        let batches = EvaluationBatches::new(&data.train, &scored, &normalizations, size)?;
        let answers = scoring::answers(&mut self.network, &batches, listener)?;
        let going_on = self.members.iter().zip(answers).enumerate().filter(|(_, (member, _))| !member.is_done);
        going_on.map(|(place, (_, answers))| Ok((place, answers.score()?))).collect()
    }
}
