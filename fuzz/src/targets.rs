//! What reads foreign bytes, and valid samples of each.

pub mod dataset;
pub mod job_file;
pub mod weights;
