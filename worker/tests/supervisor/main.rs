//! The worker against a fake coordinator over real gRPC and a fake engine that is a real process: what it does when
//! things go wrong, which is what it is for.
#![allow(clippy::unwrap_used)]

mod coordinator;
mod process;
mod serving;
mod start;
mod tasks;
mod worker;
