//! A cluster on this machine: a coordinator and workers as children of this process.

mod cluster;
mod folder;
mod process;
mod signals;

pub use cluster::{Cluster, Settings};
pub use folder::Folder;
pub use process::Ended;
pub use signals::Signals;
