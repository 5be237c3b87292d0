//! The coordinator.
pub mod clock;
pub mod data_dir;
pub mod journal;
pub mod store;
