//! Who may speak for a task: only the newest grant counts.

use super::job::no_part;
use super::task::{Claim, TaskKey, TaskKind};
use super::{Cluster, LeaseKey, Rejection};
use crate::id::TaskId;
use crate::run::Artifact;

impl Cluster {
    /// The task that a lease names, if that attempt counts.
    pub(super) fn claim(&mut self, lease: &LeaseKey) -> Result<(TaskKey, Claim), Rejection> {
        let key = self.key(&lease.task)?;
        let claim = self.task_mut(key).claim(lease.attempt);
        Ok((key, claim.ok_or_else(|| Rejection::StaleLease(lease.clone()))?))
    }

    /// As [`Cluster::claim`], for the last word on a task; nothing where it has been said before, with the same result.
    /// With the model that the task is about.
    pub(super) fn claim_to_finish(
        &mut self,
        lease: &LeaseKey,
        artifact: Option<&Artifact>,
        expected: impl Fn(&TaskKind) -> bool,
    ) -> Result<Option<(TaskKey, Option<u32>)>, Rejection> {
        let (key, claim) = self.claim(lease)?;
        let kind = &self.task_mut(key).kind;
        if !expected(kind) {
            return Err(Rejection::Unexpected(format!("`{}` is not the kind of task that ends so", lease.task)));
        }
        match claim {
            Claim::Live => Ok(Some((key, kind.model()))),
            Claim::Repeated(success) if success.artifact.as_ref() == artifact => Ok(None),
            Claim::Repeated(_) => Err(Rejection::StaleLease(lease.clone())),
        }
    }

    pub(super) fn check_part(&mut self, key: TaskKey, run: u32) -> Result<(), Rejection> {
        match &self.task_mut(key).kind {
            TaskKind::Train { runs } if runs.contains(&run) => Ok(()),
            _ => Err(no_part(run)),
        }
    }

    pub(super) fn key(&self, id: &TaskId) -> Result<TaskKey, Rejection> {
        let unknown = || Rejection::UnknownTask(id.clone());
        let (job, kind, task) = TaskKind::parse(id).ok_or_else(unknown)?;
        let &job = self.numbers.get(&job).ok_or_else(unknown)?;
        let entry = self.jobs[job as usize].tasks.get(task as usize).ok_or_else(unknown)?;
        if entry.kind.is_called(kind) { Ok(TaskKey { job, task }) } else { Err(unknown()) }
    }
}
