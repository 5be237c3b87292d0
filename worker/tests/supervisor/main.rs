//! The worker against a fake coordinator over real gRPC and a fake engine that is a real process: what it does when
//! things go wrong, which is what it is for.
#![allow(clippy::unwrap_used)]

mod away;
mod coordinator;
mod process;
mod serving;
mod start;
mod storing;
mod tasks;
mod watching;
mod worker;
mod yielding;
