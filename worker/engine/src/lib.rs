//! The training engine: the only crate that links libtorch. Each slot of a worker runs it as a child process.

pub mod libtorch;
pub mod nn;
pub mod optimizer;
pub mod random;
mod shim;
