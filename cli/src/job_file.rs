//! From a job file on disk to a job that the coordinator can take.

use crate::exit::Usage;
use anyhow::Result;
use ensemble::job::{Job, JobFileError, Override};
use std::path::Path;

/// Reads and checks a job file: by itself, and against the data where they can be read here. The data's path comes out
/// absolute, since the workers know nothing of the folder that the file lies in.
///
/// # Errors
/// Everything that is wrong with the file, as [`Usage`].
pub fn read(file: &Path, overrides: &[Override]) -> Result<Job> {
    let yaml =
        std::fs::read_to_string(file).map_err(|error| Usage(format!("cannot read {}: {error}", file.display())))?;
    let mut job = Job::parse(&yaml, overrides).map_err(|error| invalid(file, &error))?;
    job.data.path = absolute(&job.data.path, file)?;
    ensemble::expand::expand(&job).map_err(|error| invalid(file, &error))?;
    if let Some(summary) = crate::pictures::summary(&job.data)? {
        job.check_against(&summary).map_err(|error| invalid(file, &error))?;
    }
    Ok(job)
}

fn invalid(file: &Path, error: &JobFileError) -> Usage {
    let lines: Vec<_> = error.problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Usage(format!("{} is no valid job file:{}", file.display(), lines.concat()))
}

/// A relative path is relative to the job file; `scheme://…` stays as it is.
fn absolute(path: &str, file: &Path) -> Result<String> {
    if path.contains("://") {
        return Ok(path.to_owned());
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let joined =
        std::path::absolute(folder.join(path)).map_err(|error| Usage(format!("data.path `{path}`: {error}")))?;
    Ok(normal(&joined))
}

/// The path without `.` and `..`, so that people see where it leads. Links on the way keep their meaning where the path
/// exists.
fn normal(path: &Path) -> String {
    if let Ok(real) = path.canonicalize() {
        return real.to_string_lossy().into_owned();
    }
    let mut plain = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_soup_without_a_shared_trajectory_is_refused_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("soup.yaml");
        let job = "{name: soup, data: {format: idx, path: d}, model: {architecture: cnn}, train: {epochs: 1}, \
                   members: [seeds: {count: 2}], average: [soup: {of: seeds}]}";
        std::fs::write(&file, job).unwrap();
        let error = read(&file, &[]).unwrap_err().to_string();
        assert!(error.contains("average[0].soup") && error.contains("trajectory"), "{error}");
    }

    #[test]
    fn a_relative_data_path_is_relative_to_the_job_file() {
        assert_eq!(absolute("../../data", Path::new("/a/deploy/jobs/x.yaml")).unwrap(), "/a/data");
        assert_eq!(absolute("/d", Path::new("/a/x.yaml")).unwrap(), "/d");
        assert_eq!(absolute("s3://bucket/d", Path::new("/a/x.yaml")).unwrap(), "s3://bucket/d");
        let here = std::env::current_dir().unwrap().join("nowhere");
        assert_eq!(absolute("nowhere", Path::new("x.yaml")).unwrap(), here.to_str().unwrap());
    }
}
