//! Between wire and domain. Nothing of the wire goes further in than this, and what comes from the wire is checked here.

mod model;
mod task;
mod view;

use tonic::Status;

/// A message from the wire that means nothing: which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct Malformed {
    /// The field of the message.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Malformed {
    pub(crate) fn new(field: &'static str, problem: impl ToString) -> Self {
        Self { field, problem: problem.to_string() }
    }
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

/// A message field that must be there, as a domain value.
///
/// # Errors
/// When it is absent, or its own conversion fails.
pub fn required<W, D: TryFrom<W, Error = Malformed>>(field: &'static str, value: Option<W>) -> Result<D, Malformed> {
    value.ok_or_else(|| Malformed::new(field, "is missing"))?.try_into()
}
