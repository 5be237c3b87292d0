//! How things look on a terminal.

pub mod answers;
pub mod image;
pub mod list;
pub mod progress;
pub mod report;
pub mod size;
pub mod time;
