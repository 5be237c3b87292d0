//! A cluster on this machine: a coordinator and workers as children of this process.

mod child;
mod cluster;
mod folder;
mod process;
mod signals;

pub use cluster::{Cluster, Settings, sibling};
pub use folder::Folder;
pub use signals::Signals;
