//! The training engine: the only crate that links libtorch. Each slot of a worker runs it as a child process.

pub mod artifact;
mod augment;
pub mod calibrate;
pub mod checkpoint;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod event;
pub mod libtorch;
pub mod model_file;
pub mod nn;
pub mod optimizer;
pub mod pipe;
pub mod predict;
pub mod random;
pub mod scoring;
pub mod session;
mod shim;
pub mod train;
