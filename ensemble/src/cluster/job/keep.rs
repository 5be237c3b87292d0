//! Which artifacts of a job must stay in the store.
//!
//! | the job | its checkpoints | its models, each with its predictions |
//! |---|---|---|
//! | goes on | those that something can start from: two or more of each run in training | all |
//! | is done | `keep.checkpoints` of each run, or none | those of members and averages; with `keep.best` so many |
//! | failed | `keep.checkpoints`, or the newest of each run that was not trained to its end | all; or `keep.best` |
//! | was cancelled | `keep.checkpoints` of each run, or none | all; or `keep.best` |
//!
//! What is served stays in any case. Candidates of a contest that did not win go when the job is done.

use super::{Branch, JobPhase, JobState, ModelState};
use crate::id::Digest;
use crate::run::Artifact;
use std::collections::BTreeSet;

impl JobState {
    /// Adds the artifacts that the job needs.
    pub fn refer(&self, digests: &mut BTreeSet<Digest>) {
        let models = self.kept_models().into_iter().flat_map(|model| self.artifacts(model));
        digests.extend(self.checkpoints().chain(models).map(|artifact| artifact.digest.clone()));
    }

    /// The models whose bytes the job needs, by their places.
    pub fn kept_models(&self) -> BTreeSet<u32> {
        let all = 0..self.models.len() as u32;
        if self.phase.ended().is_none() {
            return all.collect();
        }
        let members = self.members.iter().filter_map(|member| member.model);
        let mut candidates: Vec<_> = match self.phase {
            JobPhase::Done(_) => members.chain(self.averages.iter().copied()).collect(),
            _ => all.collect(),
        };
        if let Some(best) = self.job.keep.best {
            candidates.sort_by(|&one, &other| self.nll(one).total_cmp(&self.nll(other)));
            candidates.truncate(best as usize);
        }
        candidates.into_iter().chain(self.served()).collect()
    }

    /// Ends the job, and releases the checkpoints that it needs no more.
    pub fn end(&mut self, phase: JobPhase) {
        self.phase = phase;
        self.trouble = None;
        self.models.iter_mut().for_each(|model| model.raw = None);
        let unfinished = u32::from(matches!(self.phase, JobPhase::Failed(_)));
        let runs: Vec<_> = self.runs.keys().copied().collect();
        for run in runs {
            let otherwise = if self.is_run_trained(run) { 0 } else { unfinished };
            let kept = self.job.keep.checkpoints.unwrap_or(otherwise);
            let run = self.runs.get_mut(&run).expect("these are the job's runs");
            run.release(kept as usize);
            let starts = run.branches.iter_mut().filter_map(|branch| branch.checkpoint.as_mut());
            starts.for_each(|checkpoint| checkpoint.released = true);
        }
    }

    /// Once a run is trained, nobody goes on from its checkpoints, nor from where it left another.
    pub(super) fn release_if_trained(&mut self, run: u32) {
        if !self.is_run_trained(run) {
            return;
        }
        let kept = self.job.keep.checkpoints.unwrap_or(0) as usize;
        let state = self.runs.get_mut(&run).expect("what is trained is one of the job's runs");
        state.release(kept);
        let Some((parent, start)) = state.origin() else { return };
        let leaving = &self.runs.get_mut(&parent).expect("a run branches off one of its job").branch_at(start).leaving;
        if leaving.clone().into_iter().all(|run| self.is_run_trained(run)) {
            let parent = self.runs.get_mut(&parent).expect("a run branches off one of its job");
            parent.branch_at(start).checkpoint.iter_mut().for_each(|checkpoint| checkpoint.released = true);
        }
    }

    fn checkpoints(&self) -> impl Iterator<Item = &Artifact> {
        let starts = self.runs.values().flat_map(|run| &run.branches).filter_map(Branch::start);
        let own = self.runs.values().flat_map(|run| run.resumable());
        starts.chain(own).map(|checkpoint| &checkpoint.artifact)
    }

    fn artifacts(&self, model: u32) -> impl Iterator<Item = &Artifact> {
        let model = &self.models[model as usize];
        let raw = match &model.state {
            ModelState::Calibrating(calibration) => Some(&calibration.raw),
            _ => model.raw.as_ref(),
        };
        let evaluation = model.state.evaluation().or(model.known.as_deref());
        let evaluated =
            evaluation.into_iter().flat_map(|evaluation| [&evaluation.stored.artifact, &evaluation.predictions]);
        raw.into_iter().chain(model.state.stored()).map(|stored| &stored.artifact).chain(evaluated)
    }

    /// The models of the members that serve predictions: those that the report gives a weight.
    fn served(&self) -> impl Iterator<Item = u32> {
        let weights = match &self.phase {
            JobPhase::Done(done) if self.job.serve.is_some() => &done.report.weights[..],
            _ => &[],
        };
        let members = self.members.iter().filter(|member| member.lost.is_none()).zip(weights);
        members.filter(|(_, weight)| **weight > 0.0).filter_map(|(member, _)| member.model)
    }

    /// By what models are judged: less is better. One without a score is worse than any with.
    fn nll(&self, model: u32) -> f64 {
        let scores = self.models[model as usize].scores().and_then(|scores| scores.validation);
        scores.map_or(f64::INFINITY, |scores| scores.nll)
    }
}
