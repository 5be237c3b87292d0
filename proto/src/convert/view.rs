//! What users are shown of jobs, runs, members, workers and checkpoints.

use crate::v1;
use ensemble::view::{
    CheckpointKind, CheckpointView, JobView, MemberState, MemberView, Phase, RunState, RunView, ShareView, SlotView,
    Standing, WorkerState, WorkerView,
};

impl From<JobView> for v1::Job {
    fn from(job: JobView) -> Self {
        Self {
            id: job.id.to_string(),
            name: job.name,
            phase: v1::JobPhase::from(job.phase).into(),
            detail: job.detail,
            members_ready: job.members_ready,
            members_total: job.members_total,
            submitted_ms: job.submitted_ms,
            ended_ms: job.ended_ms.unwrap_or_default(),
            served: job.served,
            namespace: job.namespace,
            priority: job.priority.into(),
            members_lost: job.members_lost,
            failed_task: job.failed_task.map(|task| task.to_string()).unwrap_or_default(),
        }
    }
}

impl From<Phase> for v1::JobPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Running => Self::Running,
            Phase::Done => Self::Done,
            Phase::Failed => Self::Failed,
            Phase::Cancelled => Self::Cancelled,
        }
    }
}

impl From<MemberView> for v1::Member {
    fn from(member: MemberView) -> Self {
        Self {
            index: member.index,
            name: member.name,
            seed: member.seed,
            state: member_state(member.state).to_owned(),
            digest: member.digest.map(String::from).unwrap_or_default(),
            validation: member.validation.map(Into::into),
            test: member.test.map(Into::into),
        }
    }
}

fn member_state(state: MemberState) -> &'static str {
    match state {
        MemberState::Planned => "planned",
        MemberState::Training => "training",
        MemberState::Trained => "trained",
        MemberState::Evaluated => "evaluated",
        MemberState::Lost => "lost",
    }
}

impl v1::RunProgress {
    /// How far a run is, beside what its worker last said of it.
    pub fn of(run: RunView, progress: Option<v1::Progress>) -> Self {
        Self {
            run: run.run,
            state: run_state(run.state).to_owned(),
            worker: run.worker.map(|worker| worker.to_string()).unwrap_or_default(),
            attempt: run.attempt,
            progress,
        }
    }
}

fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Waiting => "waiting",
        RunState::Training => "training",
        RunState::Done => "done",
        RunState::Failed => "failed",
    }
}

impl From<WorkerView> for v1::Worker {
    fn from(worker: WorkerView) -> Self {
        Self {
            id: worker.id.to_string(),
            connected: worker.connected,
            slots: worker.slots.into_iter().map(Into::into).collect(),
            last_heartbeat_ms: worker.last_heartbeat_ms,
            state: worker_state(worker.state).to_owned(),
            standing: standing(worker.standing).to_owned(),
        }
    }
}

fn worker_state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Connected => "connected",
        WorkerState::Unknown => "unknown",
        WorkerState::Gone => "gone",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Draining => "draining",
        Standing::Drained => "drained",
        Standing::SetAside => "set_aside",
    }
}

impl From<ShareView> for v1::Share {
    fn from(share: ShareView) -> Self {
        Self { namespace: share.namespace, weight: share.weight, slots_busy: share.slots_busy }
    }
}

impl From<SlotView> for v1::WorkerSlot {
    fn from(slot: SlotView) -> Self {
        let task = slot.task.map(|task| task.to_string()).unwrap_or_default();
        Self { index: slot.index, device: slot.device, task }
    }
}

impl From<CheckpointView> for v1::Checkpoint {
    fn from(checkpoint: CheckpointView) -> Self {
        Self {
            run: checkpoint.run,
            kind: checkpoint_kind(checkpoint.kind).to_owned(),
            step: checkpoint.step.unwrap_or_default(),
            digest: checkpoint.digest.into(),
            bytes: checkpoint.bytes,
            committed_ms: checkpoint.committed_ms,
        }
    }
}

fn checkpoint_kind(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Checkpoint => "checkpoint",
        CheckpointKind::Snapshot => "snapshot",
        CheckpointKind::Final => "final",
        CheckpointKind::Average => "average",
    }
}
