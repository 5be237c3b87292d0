//! Which artifacts make up an ensemble, an average or a member.

use super::super::status::rejection_status;
use ensemble::cluster::Cluster;
use ensemble::id::{Digest, JobId};
use ensemble::job::Combine;
use ensemble::report::Report;
use ensemble::view::{MemberState, MemberView};
use proto::v1::{DescribeModelsReply, ModelEntry};
use tonic::Status;

/// What somebody wants the models of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Ensemble,
    Averages,
    Average(String),
    Member(u32),
}

impl What {
    pub(super) fn parse(text: &str) -> Result<Self, Status> {
        let unknown = || {
            let valid = "`ensemble`, `average`, `average/NAME` or `member/INDEX`";
            Status::invalid_argument(format!("`{text}` names no models; ask for {valid}"))
        };
        match text.split_once('/') {
            None if text == "ensemble" => Ok(Self::Ensemble),
            None if text == "average" => Ok(Self::Averages),
            Some(("average", name)) => Ok(Self::Average(name.to_owned())),
            Some(("member", index)) => index.parse().map(Self::Member).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

/// The models, with their weights where there are any.
pub(super) fn describe(cluster: &Cluster, job: &JobId, what: &What) -> Result<DescribeModelsReply, Status> {
    let file = cluster.job_file(job).map_err(rejection_status)?;
    let mut reply = match what {
        What::Ensemble => ensemble(cluster, job, file.ensemble.combine)?,
        What::Averages => alone(averages(cluster, job, |_| true)?),
        What::Average(name) => alone(averages(cluster, job, |average| average == name)?),
        What::Member(index) => alone(vec![member(cluster, job, *index)?]),
    };
    if reply.models.is_empty() {
        return Err(Status::not_found(format!("job `{job}` has no such average; `tutti report {job}` lists them")));
    }
    reply.class_names = file.data.class_names.clone();
    Ok(reply)
}

pub(super) fn no_report(job: &JobId) -> Status {
    Status::failed_precondition(format!(
        "job `{job}` has no report: it is not done; `tutti get jobs` says how it stands"
    ))
}

/// The members that count. Those without a weight change no prediction.
fn ensemble(cluster: &Cluster, job: &JobId, combine: Combine) -> Result<DescribeModelsReply, Status> {
    let Report { weights, temperature, .. } =
        cluster.report(job).map_err(rejection_status)?.ok_or_else(|| no_report(job))?;
    let members = cluster.members(job).map_err(rejection_status)?;
    let left = members.into_iter().filter(|member| member.state != MemberState::Lost);
    let weighted = left.zip(weights).filter(|(_, weight)| **weight > 0.0);
    let entries: Result<Vec<_>, _> = weighted.map(|(member, weight)| Ok((member_entry(member)?, *weight))).collect();
    let (models, weights) = entries.map_err(|status: Status| status)?.into_iter().unzip();
    Ok(DescribeModelsReply {
        models,
        weights,
        temperature: *temperature,
        combine: combine_name(combine).to_owned(),
        ..DescribeModelsReply::default()
    })
}

/// Models that are not combined.
fn alone(models: Vec<ModelEntry>) -> DescribeModelsReply {
    DescribeModelsReply { models, temperature: 1.0, ..DescribeModelsReply::default() }
}

fn member(cluster: &Cluster, job: &JobId, index: u32) -> Result<ModelEntry, Status> {
    let members = cluster.members(job).map_err(rejection_status)?;
    let count = members.len();
    let member = members.into_iter().find(|member| member.index == index);
    member_entry(member.ok_or_else(|| Status::not_found(format!("job `{job}` has members 0 to {}", count - 1)))?)
}

fn member_entry(member: MemberView) -> Result<ModelEntry, Status> {
    entry(member.name, member.digest, member.bytes)
}

fn averages(cluster: &Cluster, job: &JobId, wanted: impl Fn(&str) -> bool) -> Result<Vec<ModelEntry>, Status> {
    let averages = cluster.averages(job).map_err(rejection_status)?.into_iter().filter(|average| wanted(&average.name));
    averages.map(|average| entry(average.name, average.digest, average.bytes)).collect()
}

fn entry(name: String, digest: Option<Digest>, bytes: Option<u64>) -> Result<ModelEntry, Status> {
    match (digest, bytes) {
        (Some(digest), Some(bytes)) => Ok(ModelEntry { name, digest: digest.into(), bytes }),
        _ => Err(Status::failed_precondition(format!(
            "`{name}` has no model: it is not trained yet, lost, or no longer kept"
        ))),
    }
}

/// As the job file has it.
fn combine_name(combine: Combine) -> &'static str {
    match combine {
        Combine::MeanProbability => "mean_probability",
        Combine::MeanLogit => "mean_logit",
        Combine::MajorityVote => "majority_vote",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn models_are_asked_for_by_four_names() {
        assert_eq!(What::parse("ensemble").unwrap(), What::Ensemble);
        assert_eq!(What::parse("average").unwrap(), What::Averages);
        assert_eq!(What::parse("average/swa").unwrap(), What::Average("swa".into()));
        assert_eq!(What::parse("member/3").unwrap(), What::Member(3));
        for text in ["", "member", "member/x", "ensemble/1", "everything"] {
            assert!(What::parse(text).unwrap_err().message().contains("member/INDEX"));
        }
    }
}
