//! Until when a leader can be sure that it leads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A leader's tenure. Clones are the same.
///
/// Its writes need none: each is checked where it is written. It is for what a leader does without writing: it lets workers
/// go on, and removes what nobody refers to. A leader that the database does not hear does neither, once others may lead.
#[derive(Clone, Debug)]
pub struct Tenure(Option<Arc<Mutex<Instant>>>);

impl Tenure {
    /// Of a coordinator beside which there can be no other.
    pub fn endless() -> Self {
        Self(None)
    }

    /// Of one whose lease was taken at a question that was asked then.
    pub(super) fn until(end: Instant) -> Self {
        Self(Some(Arc::new(Mutex::new(end))))
    }

    /// The lease was renewed, for so long from when that was asked.
    pub(super) fn renew(&self, asked: Instant, lease: Duration) {
        if let Some(end) = &self.0 {
            *end.lock().unwrap_or_else(PoisonError::into_inner) = asked + lease;
        }
    }

    /// Whether nobody else can lead at this moment.
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|end| Instant::now() < *end.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
