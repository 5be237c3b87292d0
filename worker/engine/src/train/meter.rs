//! What a report says: loss and accuracy of the last steps, gathered on the device and read rarely.

use std::time::{Duration, Instant};

use tch::{Kind, TchError, Tensor};

use super::pack::{Member, Pack};
use crate::error::TaskError;
use crate::event::{Event, Listener, Progress};

/// Reading a number from a GPU waits for all work before it, so it is done a few times a second at most.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Sums over the steps since the last report.
pub(super) struct Meter {
    since: Instant,
    first_step: u64,
    /// Loss and correct predictions of each member: `[M]`, and samples seen by each.
    sums: Option<(Tensor, Tensor, i64)>,
    /// What has been read of the epoch at work.
    epoch: EpochTotals,
}

/// Sums over an epoch, or over the part of one since the run was resumed.
#[derive(Default)]
struct EpochTotals {
    steps: u64,
    samples: i64,
    losses: Vec<f64>,
    correct: Vec<i64>,
}

impl EpochTotals {
    fn add(&mut self, steps: u64, samples: i64, losses: &[f64], correct: &[i64]) {
        self.steps += steps;
        self.samples += samples;
        self.losses.resize(losses.len(), 0.0);
        self.correct.resize(correct.len(), 0);
        self.losses.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += loss);
        self.correct.iter_mut().zip(correct).for_each(|(sum, correct)| *sum += correct);
    }
}

impl Meter {
    pub(super) fn new(step: u64) -> Self {
        Self { since: Instant::now(), first_step: step, sums: None, epoch: EpochTotals::default() }
    }

    /// Takes in one step: losses `[M]`, logits `[M, B, K]`, labels `[M, B]`.
    pub(super) fn record(&mut self, losses: &Tensor, logits: &Tensor, labels: &Tensor) -> Result<(), TchError> {
        let correct = logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(labels)?;
        let correct = correct.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)?;
        let losses = losses.f_detach()?.f_to_kind(Kind::Double)?;
        let batch = labels.size()[1];
        self.sums = Some(match self.sums.take() {
            Some((loss, right, seen)) => (loss.f_add(&losses)?, right.f_add(&correct)?, seen + batch),
            None => (losses, correct, batch),
        });
        Ok(())
    }

    pub(super) fn is_due(&self) -> bool {
        self.since.elapsed() >= REPORT_EVERY
    }

    /// Tells how far each run is, and begins anew.
    ///
    /// # Errors
    /// When a loss is no longer finite.
    pub(super) fn report(&mut self, pack: &Pack, listener: &mut dyn Listener) -> Result<(), TaskError> {
        let Some((losses, correct, seen)) = self.sums.take() else { return Ok(()) };
        let steps = pack.step - self.first_step;
        let elapsed = self.since.elapsed().as_secs_f64().max(1e-9);
        let (losses, correct) = (Vec::<f64>::try_from(losses)?, Vec::<i64>::try_from(correct)?);
        (self.since, self.first_step) = (Instant::now(), pack.step);
        self.epoch.add(steps, seen, &losses, &correct);
        let going_on = pack.members.iter().zip(losses.into_iter().zip(correct)).filter(|(member, _)| !member.is_done);
        for (member, (loss, correct)) in going_on {
            let progress = Progress {
                step: pack.step,
                steps: pack.steps(),
                epoch: pack.step as f64 / pack.batches.per_epoch() as f64,
                loss: loss / steps as f64,
                accuracy: correct as f64 / seen as f64,
                learning_rate: member.schedule.at(pack.step - 1),
                steps_per_second: steps as f64 / elapsed,
                score: member.score,
            };
            check_finite(member, &progress)?;
            listener.tell(Event::Progress { run: member.run.index, progress });
        }
        if pack.is_epoch_end() {
            self.end_epoch(pack, listener);
        }
        Ok(())
    }

    fn end_epoch(&mut self, pack: &Pack, listener: &mut dyn Listener) {
        let EpochTotals { steps, samples, losses, correct } = std::mem::take(&mut self.epoch);
        let epoch = pack.step / pack.batches.per_epoch();
        for (member, (loss, correct)) in pack.members.iter().zip(losses.into_iter().zip(correct)) {
            if !member.is_done {
                let (loss, accuracy) = (loss / steps as f64, correct as f64 / samples as f64);
                listener.tell(Event::Log(epoch_line(member, epoch, loss, accuracy)));
            }
        }
    }
}

/// `seed-0 epoch 2/3: loss 0.412, accuracy 0.852, validation nll 0.388, accuracy 0.861`
fn epoch_line(member: &Member, epoch: u64, loss: f64, accuracy: f64) -> String {
    let (name, epochs) = (&member.run.name, member.run.train.epochs);
    let part = if member.selection.held_out.is_empty() { "validation" } else { "held-out" };
    let scored = member.score.map(|score| format!(", {part} nll {:.3}, accuracy {:.3}", score.nll, score.accuracy));
    format!("{name} epoch {epoch}/{epochs}: loss {loss:.3}, accuracy {accuracy:.3}{}", scored.unwrap_or_default())
}

fn check_finite(member: &Member, progress: &Progress) -> Result<(), TaskError> {
    if progress.loss.is_finite() {
        return Ok(());
    }
    let run = member.run.name.clone();
    Err(TaskError::Diverged { run, loss: progress.loss, step: progress.step, rate: progress.learning_rate })
}
