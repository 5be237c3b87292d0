//! What is wrong with a job file, said so that the reader can mend it.

use std::fmt;

/// One thing wrong with a job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key, such as `members[1].snapshots.cycles`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, with the offending value.
    pub message: String,
    /// What would be right.
    pub remedy: Option<String>,
}

impl Problem {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), remedy: Some(remedy.into()) }
    }

    /// The same problem, seen from the grid whose `value` caused it.
    pub(super) fn seen_from_grid(self, place: &str, value: &serde_json::Value) -> Self {
        Self { path: place.to_owned(), message: format!("with `{value}`, {}: {}", self.path, self.message), ..self }
    }

    pub(super) fn unreadable(message: String) -> Self {
        Self { path: String::new(), message, remedy: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a job file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JobFileError {
    /// The problems, in the order of the file's sections.
    pub problems: Vec<Problem>,
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<Problem> for JobFileError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}
