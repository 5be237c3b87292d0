//! The gateway: places the members of finished ensembles on workers, asks them, and combines what they answer.
//!
//! ```text
//!  Predict ─▶ inputs checked ─▶ gateway ─▶ every worker that holds members
//!                                  ◀─ logits, until all have answered or time is up
//!            answer ◀─ combined with the report's weights, rule and temperature
//! ```
//! A prediction needs a quorum of members (`serve.min_members`, all of them by default). Below it the answer is
//! `UNAVAILABLE` and says who is missing, never a silently smaller ensemble.

mod answer;
mod flights;
mod gateway;
mod hosting;
mod inputs;
mod plan;
mod served;

pub use answer::answer;
pub use gateway::{Gateway, PREDICTION_TIMEOUT, PredictError};
pub use inputs::check as check_inputs;
pub use plan::{ServeError, ServePlan, plan};
pub use served::{Served, ServedMember, ServedModel};
