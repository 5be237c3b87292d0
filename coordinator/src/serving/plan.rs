//! From a finished job to what is served.

use super::{Served, ServedMember, ServedModel};
use crate::patience::{Curable, Cure};
use artifacts::{Store, StoreError};
use ensemble::average::{AverageError, read_header};
use ensemble::cluster::Cluster;
use ensemble::combine::Temperature;
use ensemble::id::JobId;
use ensemble::job::Combine;
use ensemble::run::Artifact;
use ensemble::view::{MemberState, MemberView};

/// What a job's report says about serving it, before any of its files was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct ServePlan {
    /// The job.
    pub job: JobId,
    members: Vec<ServedMember>,
    combine: Combine,
    temperature: f64,
    /// `serve.min_members`.
    members_min: Option<u32>,
}

/// Why an ensemble cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No member has a weight.
    #[error("no member of the ensemble has a weight")]
    Empty,
    /// The report's temperature is none.
    #[error("the report's temperature {0} is out of range")]
    Temperature(f64),
    /// A model is not in the store, or damaged there.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model's file is not readable.
    #[error("the model of member `{member}`: {error}")]
    Unreadable {
        /// The member.
        member: String,
        /// What is wrong.
        error: AverageError,
    },
    /// A model's file does not say what it takes.
    #[error(
        "the model of member `{0}` does not state its `shape` and `classes`; was another program's file put in its place?"
    )]
    NoSizes(String),
}

impl Curable for ServeError {
    fn cure(&self) -> Cure {
        match self {
            Self::Store(error) => error.cure(),
            _ => Cure::None,
        }
    }
}

/// What there is to serve of a job: nothing before it is done, or if it does not say `serve`.
pub fn plan(cluster: &Cluster, job: &JobId) -> Option<ServePlan> {
    let file = cluster.job_file(job).ok()?;
    let serve = file.serve.as_ref()?;
    let report = cluster.report(job).ok()??;
    let members = cluster.members(job).ok()?;
    let left = members.into_iter().filter(|member| member.state != MemberState::Lost);
    let members = left.zip(&report.weights).filter(|(_, weight)| **weight > 0.0);
    Some(ServePlan {
        job: job.clone(),
        members: members.filter_map(|(member, weight)| served_member(member, *weight)).collect(),
        combine: file.ensemble.combine,
        temperature: report.temperature,
        members_min: serve.min_members,
    })
}

/// A member of a finished job has a model; were it otherwise, the member would be missing and the quorum would say so.
fn served_member(member: MemberView, weight: f64) -> Option<ServedMember> {
    let artifact = Artifact { digest: member.digest?, bytes: member.bytes? };
    Some(ServedMember { index: member.index, name: member.name, artifact, weight })
}

impl ServePlan {
    /// Looks into the first member's file for what goes in and out. Blocks.
    pub fn open(self, store: &Store) -> Result<Served, ServeError> {
        let first = self.members.first().ok_or(ServeError::Empty)?;
        let mut file = store.blocking_files(std::slice::from_ref(&first.artifact))?.remove(0);
        let unreadable = |error| ServeError::Unreadable { member: first.name.clone(), error };
        let header = read_header(0, &mut file).map_err(unreadable)?;
        let model = ServedModel::from_metadata(header.metadata());
        let model = model.ok_or_else(|| ServeError::NoSizes(first.name.clone()))?;
        let temperature = Temperature::new(self.temperature).ok_or(ServeError::Temperature(self.temperature))?;
        let all = self.members.len();
        // More than there are cannot answer: a minimum that selection has made unreachable means all.
        let quorum = self.members_min.map_or(all, |min| (min as usize).clamp(1, all));
        Ok(Served { job: self.job, members: self.members, combine: self.combine, temperature, quorum, model })
    }
}
