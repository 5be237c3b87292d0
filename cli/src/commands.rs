//! One file for each subcommand, all alike: its arguments, then what it does.

pub mod backup;
pub mod cancel;
pub mod collect;
pub mod completions;
pub mod drain;
pub mod export;
pub mod get;
pub mod logs;
pub mod pin;
pub mod predict;
pub mod reinstate;
pub mod report;
pub mod restore;
pub mod run;
pub mod schema;
pub mod share;
pub mod unpin;
pub mod up;
pub mod validate;
