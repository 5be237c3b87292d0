//! What the coordinator does itself: averages and reports.

use super::super::agenda::Time;
use super::super::defect::Defect;
use super::super::env::Env;
use super::super::training;
use super::driver::{Reply, Request};
use super::{Coordinator, Wake};
use ensemble::cluster::{Command, Effect};
use ensemble::id::Digest;
use ensemble::run::Artifact;

/// How long a chore takes, in milliseconds.
const CHORE: (Time, Time) = (100, 3_000);

impl Coordinator {
    /// After a start, what was asked for and not finished is begun again.
    pub(super) fn take_up(&mut self, env: &mut Env) {
        if env.defect == Some(Defect::ChoresForgotten) {
            return;
        }
        for effect in self.cluster.outstanding() {
            self.begin_chore(env, effect);
        }
    }

    pub(super) fn begin_chore(&mut self, env: &mut Env, effect: Effect) {
        self.chores_begun += 1;
        let chore = self.chores_begun;
        self.chores.insert(chore, effect);
        let takes = env.random.within(CHORE.0, CHORE.1);
        self.set_in(env, takes, Wake::Chore { chore });
    }

    pub(super) fn end_chore(&mut self, env: &mut Env, chore: u64) {
        let Some(effect) = self.chores.remove(&chore) else { return };
        // What was asked for may be wanted no more: a job ended, or what it is made of is made again.
        if !self.cluster.outstanding().contains(&effect) {
            return;
        }
        if let Some(missing) = inputs(&effect).iter().find(|artifact| env.store.get(&artifact.digest).is_none()) {
            panic!("invariant_what_is_combined_is_in_the_store: {effect:?} wants {missing:?}");
        }
        let artifacts = inputs(&effect).into_iter();
        let damaged: Vec<_> = artifacts.filter(|artifact| env.store.read(&artifact.digest).is_none()).collect();
        if !damaged.is_empty() {
            return damaged.into_iter().for_each(|artifact| self.report_damaged(env, artifact.digest));
        }
        let (content, command) = training::chore(&effect, &env.store);
        if let Some(content) = content {
            env.store.put(env.now, content);
        }
        self.push(env, Request::Apply { command: Box::new(command), reply: Reply::None });
    }

    /// What made it is done again. The cluster asks for what is made of it by itself, then.
    pub(super) fn report_damaged(&mut self, env: &mut Env, digest: Digest) {
        let command = Box::new(Command::ReportDamaged { digest });
        self.push(env, Request::Apply { command, reply: Reply::None });
    }
}

fn inputs(effect: &Effect) -> Vec<Artifact> {
    match effect {
        Effect::Average { models, .. } => models.clone(),
        Effect::Combine { members, averages, .. } => {
            members.iter().chain(averages).map(|of| of.predictions.clone()).collect()
        }
        _ => Vec::new(),
    }
}
