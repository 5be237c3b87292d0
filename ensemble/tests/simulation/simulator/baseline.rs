//! What a job comes to when nothing goes wrong: the measure of every history in which something did.

use super::plan::Plan;
use super::world::World;
use ensemble::cluster::Cluster;
use ensemble::id::{Digest, JobId};
use ensemble::job::Job;
use ensemble::report::Report;
use ensemble::view::{Phase, TaskState};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a job comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    pub phase: Phase,
    /// Whether some of it failed for good.
    pub incomplete: bool,
    /// By name; none while a model is not there.
    pub members: BTreeMap<String, Option<Digest>>,
    pub averages: BTreeMap<String, Option<Digest>>,
    pub report: Option<Report>,
}

impl Result {
    pub fn of(cluster: &Cluster, job: &JobId) -> Self {
        let known = "the job is known";
        let members = cluster.members(job).expect(known).into_iter().map(|member| (member.name, member.digest));
        let averages = cluster.averages(job).expect(known).into_iter().map(|average| (average.name, average.digest));
        Self {
            phase: cluster.job(job).expect(known).phase,
            incomplete: cluster.tasks(job).expect(known).iter().any(|task| task.state == TaskState::Failed),
            members: members.collect(),
            averages: averages.collect(),
            report: cluster.report(job).expect(known).cloned(),
        }
    }
}

/// Results of undisturbed jobs, by the job's JSON form: few jobs serve many histories.
static KNOWN: Mutex<BTreeMap<String, Arc<Result>>> = Mutex::new(BTreeMap::new());

/// What a job comes to that is alone with one worker, and nothing goes wrong.
pub fn undisturbed(job: &Job) -> Arc<Result> {
    let json = job.to_json();
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(result) = known().get(&json) {
        return Arc::clone(result);
    }
    let result = Arc::new(World::new(Plan::undisturbed()).run_alone(job));
    known().insert(json, Arc::clone(&result));
    result
}
