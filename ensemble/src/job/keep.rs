//! The `keep` section: which artifacts of a job stay in the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job keeps at most this many checkpoints of a run: more are remembered by nobody.
pub const CHECKPOINTS_MAX: u32 = 8;

/// Which artifacts of a job stay in the store. Nothing goes that the job needs to reach its end, that is pinned, or that
/// serves predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// How many of the newest checkpoints of each run stay, from 0 to 8. If absent: as many as resuming needs while the
    /// run is trained, the newest of an unfinished run if the job fails, and none once the job is done or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u32>,
    /// How many models stay once the job is done: of its members and averages, those with the lowest NLL on the validation
    /// part. All of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<u32>,
}

impl Keep {
    /// Whether nothing was said.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
