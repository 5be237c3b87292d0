//! What workers bring back.

use super::grants::TakenBack;
use super::job::{Checkpoint, Followup, Stored};
use super::restart::{Verdict, after_failure};
use super::task::{Claim, Success, TaskKey, TaskKind, TaskState};
use super::{Cluster, Effect, EvaluationScores, Failure, FailureClass, LeaseKey, Millis, Rejection};
use crate::expand::ModelRef;
use crate::run::{Artifact, ModelKind};

impl Cluster {
    pub(super) fn handle_commit_checkpoint(
        &mut self,
        now: Millis,
        lease: &LeaseKey,
        run: u32,
        step: u64,
        artifact: Artifact,
        branch: Option<u32>,
    ) -> Result<Vec<Effect>, Rejection> {
        let (key, claim) = self.claim(lease)?;
        self.check_part(key, run)?;
        let job = self.job_of(key);
        if let Claim::Repeated(_) = claim {
            let known = job.has_checkpoint(run, &artifact);
            return if known { Ok(Vec::new()) } else { Err(Rejection::StaleLease(lease.clone())) };
        }
        let mut followup = Followup::default();
        job.commit_checkpoint(run, Checkpoint::new(step, artifact, now), branch, &mut followup)?;
        Ok(self.followed(now, key, followup))
    }

    pub(super) fn handle_commit_model(
        &mut self,
        now: Millis,
        lease: &LeaseKey,
        run: u32,
        kind: ModelKind,
        artifact: Artifact,
        batch_norm: bool,
    ) -> Result<Vec<Effect>, Rejection> {
        let (key, claim) = self.claim(lease)?;
        self.check_part(key, run)?;
        let job = self.job_of(key);
        let source = ModelRef { run, kind };
        if let Claim::Repeated(_) = claim {
            let known = job.has_model(source, &artifact);
            return if known { Ok(Vec::new()) } else { Err(Rejection::StaleLease(lease.clone())) };
        }
        let mut followup = Followup::default();
        job.commit_model(source, Stored { artifact, committed: now }, batch_norm, &mut followup)?;
        Ok(self.followed(now, key, followup))
    }

    pub(super) fn handle_finish_training(&mut self, now: Millis, lease: &LeaseKey) -> Result<Vec<Effect>, Rejection> {
        let Some((key, _)) = self.claim_to_finish(lease, None, TaskKind::is_train)? else { return Ok(Vec::new()) };
        match self.job_of(key).missing_from(key.task) {
            None => Ok(self.finish(now, key, None, Followup::default())),
            Some(missing) => Ok(self.fail_incomplete(now, key, missing)),
        }
    }

    pub(super) fn handle_finish_calibration(
        &mut self,
        now: Millis,
        lease: &LeaseKey,
        artifact: Artifact,
    ) -> Result<Vec<Effect>, Rejection> {
        let claim = self.claim_to_finish(lease, Some(&artifact), TaskKind::is_calibrate)?;
        let Some((key, Some(model))) = claim else { return Ok(Vec::new()) };
        let mut followup = Followup::default();
        self.job_of(key).keep(model, Stored { artifact: artifact.clone(), committed: now }, &mut followup);
        Ok(self.finish(now, key, Some(artifact), followup))
    }

    pub(super) fn handle_finish_evaluation(
        &mut self,
        now: Millis,
        lease: &LeaseKey,
        predictions: Artifact,
        scores: EvaluationScores,
    ) -> Result<Vec<Effect>, Rejection> {
        let claim = self.claim_to_finish(lease, Some(&predictions), TaskKind::is_evaluate)?;
        let Some((key, Some(model))) = claim else { return Ok(Vec::new()) };
        let job = self.job_of(key);
        if job.lacks_scores(model, &scores) {
            let message = "the evaluation ended without scores on the fold held out".to_owned();
            return Ok(self.fail_incomplete(now, key, message));
        }
        let mut followup = Followup::default();
        job.evaluate(model, predictions.clone(), scores, &mut followup);
        Ok(self.finish(now, key, Some(predictions), followup))
    }

    pub(super) fn handle_fail(
        &mut self,
        now: Millis,
        lease: &LeaseKey,
        failure: &Failure,
    ) -> Result<Vec<Effect>, Rejection> {
        match self.claim(lease)? {
            (key, Claim::Live) => Ok(self.fail(now, key, failure)),
            (_, Claim::Repeated(_)) => Err(Rejection::StaleLease(lease.clone())),
        }
    }

    /// Takes back a task that its worker hands back: no failure, no loss.
    pub(super) fn handle_yield(&mut self, now: Millis, lease: &LeaseKey) -> Result<Vec<Effect>, Rejection> {
        let (key, Claim::Live) = self.claim(lease)? else { return Ok(Vec::new()) };
        let mut effects = Vec::new();
        self.take_back(now, &[key], TakenBack::HandedBack, &mut effects);
        Ok(effects)
    }

    /// Ends the pause after an attempt. Whoever says so twice has no effect.
    pub(super) fn handle_retry(&mut self, now: Millis, failed: &LeaseKey) -> Result<Vec<Effect>, Rejection> {
        let key = self.key(&failed.task)?;
        let task = self.task_mut(key);
        let TaskState::Paused(pause) = task.state else { return Ok(Vec::new()) };
        if task.attempts != failed.attempt {
            return Ok(Vec::new());
        }
        self.queue.end_pause(pause.until, key);
        let mut followup = Followup::default();
        self.ready_again(key, &mut followup);
        let mut effects = vec![Effect::Retried { task: failed.task.clone() }];
        self.follow(now, key.job, followup, &mut effects);
        Ok(effects)
    }

    fn fail(&mut self, now: Millis, key: TaskKey, failure: &Failure) -> Vec<Effect> {
        let lease = self.end_lease(key);
        let mut effects = Vec::new();
        if failure.class == FailureClass::Device {
            self.note_device_fault(&lease, &mut effects);
        }
        if matches!(failure.class, FailureClass::Device | FailureClass::Data) {
            self.task_mut(key).failed_on.insert(lease.worker);
        }
        let (id, settings, elsewhere) = (self.task_id(key), self.settings, self.can_go_elsewhere(key));
        let mut followup = Followup::default();
        let fault = matches!(failure.class, FailureClass::User | FailureClass::Data);
        if !fault && self.job_of(key).is_trained(key.task) {
            // All is there that it had to bring; what failed after that is nobody's loss.
            let attempt = self.task(key).attempts;
            self.job_of(key).finish(key.task, Success { attempt, artifact: None });
            self.follow(now, key.job, followup, &mut effects);
            return effects;
        }
        match after_failure(self.task_mut(key), &id, failure, elsewhere, &settings) {
            Verdict::Again => self.ready_again(key, &mut followup),
            Verdict::Later(pause, trouble) => {
                self.pause(key, now.saturating_add(pause));
                self.job_of(key).trouble = Some(trouble);
            }
            Verdict::Hopeless(message) => {
                if failure.class == FailureClass::Device {
                    self.clear_workers_of(key.job);
                }
                self.give_up(key, message, &mut followup);
            }
        }
        self.follow(now, key.job, followup, &mut effects);
        effects
    }

    /// A worker that says it is done and has not brought everything has failed.
    fn fail_incomplete(&mut self, now: Millis, key: TaskKey, message: String) -> Vec<Effect> {
        self.fail(now, key, &Failure { class: FailureClass::EngineLost, message })
    }

    fn finish(&mut self, now: Millis, key: TaskKey, artifact: Option<Artifact>, followup: Followup) -> Vec<Effect> {
        let lease = self.end_lease(key);
        self.note_success(&lease);
        let attempt = self.task_mut(key).attempts;
        self.job_of(key).finish(key.task, Success { attempt, artifact });
        self.followed(now, key, followup)
    }

    fn followed(&mut self, now: Millis, key: TaskKey, followup: Followup) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.follow(now, key.job, followup, &mut effects);
        effects
    }
}
