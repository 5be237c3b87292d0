//! What the coordinator answers over gRPC. Every service is thin: it checks what came, asks the driver or the gateway,
//! and gives errors their codes.

mod admin;
mod artifacts;
mod jobs;
pub mod limits;
mod predictions;
pub mod status;
mod workers;

pub use admin::Admin;
pub use artifacts::Artifacts;
pub use jobs::Jobs;
pub use predictions::Predictions;
pub use workers::Workers;
