//! Images and labels from files on this machine: a job's data folder, or single files to ask about.

mod file;
mod folder;

pub use file::{Pictures, read};
pub use folder::{summary, test_part};
