//! One file for each subcommand, all alike: its arguments, then what it does.

pub mod cancel;
pub mod completions;
pub mod export;
pub mod get;
pub mod logs;
pub mod predict;
pub mod report;
pub mod run;
pub mod schema;
pub mod up;
pub mod validate;
