//! What a pack writes: checkpoints and models, one file a run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ensemble::run::{Goal, ModelKind};

use super::averages::Means;
use super::pack::Pack;
use super::stopping::branch_step;
use super::writer::Draft;
use crate::artifact::{self, Tensors};
use crate::checkpoint::{Best, Checkpoint};
use crate::error::TaskError;
use crate::event::{Event, Listener};
use crate::model_file::{self, Card, Interface};
use crate::nn::arena::State;
use crate::optimizer::Moments;

/// Long epochs are not lost whole.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// The numbers of a pack at one moment, on the host: the pack may go on.
struct Snapshot {
    state: State,
    moments: Moments,
    averages: Means,
}

impl Pack {
    /// Checkpoints where other runs branch off, at the end of each epoch but the last, after which the models follow at
    /// once, and now and then.
    pub(super) fn write_due_checkpoints(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        let mut due = self.branching();
        let is_due = self.is_epoch_end() || self.checkpointed.0.elapsed() >= CHECKPOINT_EVERY;
        if is_due && self.step < self.steps() {
            due.extend(self.going_on());
        }
        self.begin_checkpoints(&due, listener)
    }

    /// Checkpoints of all runs that go on.
    pub(super) fn write_checkpoints(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        let due = self.going_on();
        self.begin_checkpoints(&due, listener)
    }

    /// Each run that goes on, unless nothing has happened since the last checkpoints. A branch's is as good as any other.
    fn going_on(&mut self) -> Vec<(usize, Option<u32>)> {
        if self.checkpointed.1 == self.step {
            return Vec::new();
        }
        self.checkpointed = (Instant::now(), self.step);
        let goes_on = |&place: &usize| !self.members[place].is_done && self.branches_here(place).next().is_none();
        (0..self.members.len()).filter(goes_on).map(|place| (place, None)).collect()
    }

    /// The runs that stand exactly where others branch from them, with the branch point.
    fn branching(&self) -> Vec<(usize, Option<u32>)> {
        let going_on = (0..self.members.len()).filter(|&place| !self.members[place].is_done);
        going_on.flat_map(|place| self.branches_here(place).map(move |branch| (place, Some(branch)))).collect()
    }

    /// The branch points at which a run stands.
    fn branches_here(&self, place: usize) -> impl Iterator<Item = u32> + '_ {
        let points = (0..).zip(&self.members[place].run.branch_points);
        points.filter(|&(_, &part)| branch_step(part, self.steps()) == self.step).map(|(branch, _)| branch)
    }

    /// Copies the pack, and has the checkpoints of some runs written while it goes on.
    fn begin_checkpoints(
        &mut self,
        due: &[(usize, Option<u32>)],
        listener: &mut dyn Listener,
    ) -> Result<(), TaskError> {
        if due.is_empty() {
            return Ok(());
        }
        self.writer.finish(listener)?;
        let snapshot = Snapshot {
            state: self.network.arena().state().on_host()?,
            moments: self.optimizer.state_on_host()?,
            averages: self.averages.on_host()?,
        };
        let drafts = due.iter().map(|&(place, branch)| self.draft(&snapshot, place, branch));
        let drafts = drafts.collect::<Result<_, _>>()?;
        self.writer.begin(drafts)
    }

    fn draft(&self, snapshot: &Snapshot, place: usize, branch: Option<u32>) -> Result<Draft, TaskError> {
        let suffix = branch.map(|branch| format!("-branch-{branch}")).unwrap_or_default();
        let path = self.path(place, &format!("step-{}{suffix}.checkpoint", self.step));
        Ok(Draft { checkpoint: self.checkpoint_of(snapshot, place)?, branch, rate: self.last_rate(place), path })
    }

    fn checkpoint_of(&self, snapshot: &Snapshot, place: usize) -> Result<Checkpoint, TaskError> {
        let (arena, member) = (self.network.arena(), &self.members[place]);
        let best = member.best.as_ref().map(|best| Best { tensors: shallow(&best.tensors), ..*best });
        Ok(Checkpoint {
            run: member.run.clone(),
            step: self.step,
            model: arena.views_of(&snapshot.state, place)?,
            optimizer: snapshot.moments.of(arena, place)?,
            averages: snapshot.averages.of(arena, place)?,
            swa_count: self.averages.swa_count(),
            best,
            is_done: member.is_done,
        })
    }

    fn last_rate(&self, place: usize) -> f64 {
        self.members[place].schedule.at(self.step.saturating_sub(1))
    }

    /// The models of those runs whose learning-rate cycle ends here.
    pub(super) fn write_snapshots(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let Goal::Snapshots { keep_last } = member.run.goal else { continue };
            let Some(cycle) = member.schedule.cycle_ended(self.step) else { continue };
            let cycles = member.schedule.cycle_ends().count() as u32;
            if cycle + keep_last >= cycles {
                self.writer.finish(listener)?;
                let tensors = self.network.arena().state_of(place)?;
                self.write_model(place, ModelKind::Snapshot { cycle }, &tensors, self.step, listener)?;
            }
        }
        Ok(())
    }

    /// The models of all runs that have come to their end.
    pub(super) fn write_models_of_the_end(&mut self, listener: &mut dyn Listener) -> Result<(), TaskError> {
        (0..self.members.len()).try_for_each(|place| self.end_member(place, listener))
    }

    /// Writes a run's models, and a last checkpoint if the pack goes on: should the task be lost, the run stays done.
    pub(super) fn end_member(&mut self, place: usize, listener: &mut dyn Listener) -> Result<(), TaskError> {
        if self.members[place].is_done {
            return Ok(());
        }
        self.writer.finish(listener)?;
        let current = self.network.arena().state_of(place)?;
        if self.members[place].run.goal == Goal::Final {
            match &self.members[place].best {
                Some(best) => self.write_model(place, ModelKind::Final, &best.tensors, best.step, listener)?,
                None => self.write_model(place, ModelKind::Final, &current, self.step, listener)?,
            }
        }
        for (index, parameters) in self.averages.on_host()?.of(self.network.arena(), place)? {
            let tensors = with_parameters(&current, parameters);
            self.write_model(place, ModelKind::Average { index }, &tensors, self.step, listener)?;
        }
        self.members[place].is_done = true;
        if self.step < self.steps() { self.begin_checkpoints(&[(place, None)], listener) } else { Ok(()) }
    }

    fn write_model(
        &self,
        place: usize,
        kind: ModelKind,
        tensors: &Tensors,
        step: u64,
        listener: &mut dyn Listener,
    ) -> Result<(), TaskError> {
        let member = &self.members[place];
        if !artifact::is_finite(tensors)? {
            let (run, rate) = (member.run.name.clone(), self.last_rate(place));
            return Err(TaskError::Diverged { run, loss: f64::NAN, step: self.step, rate });
        }
        let card = Card {
            job: self.job.name.clone(),
            run: member.run.clone(),
            kind,
            step,
            data_digest: self.data.digest.clone(),
            interface: Interface {
                model: member.run.model.clone(),
                classes: self.data.classes,
                shape: self.data.shape,
                normalization: member.normalization.clone(),
            },
        };
        let path = self.path(place, &file_stem(kind));
        model_file::write(&path, tensors, &card)?;
        let batch_norm = self.network.arena().has_statistics();
        listener.tell(Event::Model { run: member.run.index, kind, batch_norm, path });
        Ok(())
    }

    fn path(&self, place: usize, stem: &str) -> PathBuf {
        self.scratch.join(format!("run-{}-{stem}.safetensors", self.members[place].run.index))
    }
}

fn file_stem(kind: ModelKind) -> String {
    match kind {
        ModelKind::Final => "final".to_owned(),
        ModelKind::Snapshot { cycle } => format!("snapshot-{cycle}"),
        ModelKind::Average { index } => format!("average-{index}"),
    }
}

/// An average's parameters with the buffers of the run: those of a model with batch norm are recomputed by a task of
/// their own.
fn with_parameters(current: &Tensors, parameters: Tensors) -> Tensors {
    let mut tensors = shallow(current);
    for (name, average) in parameters {
        if let Some((_, tensor)) = tensors.iter_mut().find(|(known, _)| *known == name) {
            *tensor = average;
        }
    }
    tensors
}

fn shallow(tensors: &Tensors) -> Tensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}
