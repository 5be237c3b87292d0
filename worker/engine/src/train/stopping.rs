//! Early stopping: a run that no longer gets better ends, with its best weights.

use ensemble::job::{EarlyStopping, StopMetric};
use ensemble::run::Goal;

use super::pack::{Member, Pack};
use crate::checkpoint::Best;
use crate::error::TaskError;
use crate::event::{Event, Listener};
use crate::scoring::Score;

impl Member {
    /// The rule by which this run may stop early. Snapshots and averages need the whole run.
    fn early_stopping(&self) -> Option<&EarlyStopping> {
        self.run.train.early_stopping.as_ref().filter(|_| self.run.goal == Goal::Final && !self.is_done)
    }

    /// Whether every checkpoint that another run branches from has been passed.
    fn has_branched(&self, step: u64) -> bool {
        self.run.branch_points.iter().all(|&part| branch_step(part, self.schedule.steps()) <= step)
    }
}

/// The step after which a run branches, from the part of the run.
pub(super) fn branch_step(part: f64, steps: u64) -> u64 {
    ((part * steps as f64).round() as u64).min(steps)
}

impl Pack {
    /// Keeps the best weights, and ends the runs whose patience is over.
    pub(super) fn stop_early(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let (Some(rule), Some(score)) = (member.early_stopping().cloned(), member.score) else { continue };
            if member.best.as_ref().is_none_or(|best| is_better(score, best.score, rule.metric)) {
                let tensors = self.network.arena().state_of(place)?;
                self.members[place].best = Some(Best { score, step: self.step, epochs_since: 0, tensors });
                continue;
            }
            let Some(best) = &mut self.members[place].best else { continue };
            best.epochs_since += 1;
            let (waited, best_step) = (best.epochs_since, best.step);
            if waited >= rule.patience && self.step < self.steps() && self.members[place].has_branched(self.step) {
                let name = &self.members[place].run.name;
                let text = format!("{name} stops at step {}: its best score was at step {best_step}", self.step);
                listener.tell(Event::Log(text));
                self.end_member(place, listener)?;
            }
        }
        Ok(())
    }
}

fn is_better(score: Score, best: Score, metric: StopMetric) -> bool {
    match metric {
        StopMetric::Nll => score.nll < best.nll,
        StopMetric::Accuracy => score.accuracy > best.accuracy,
    }
}
