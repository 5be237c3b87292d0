//! A whole coordinator in the test's process, over real gRPC, and workers that do as a test says.

#![allow(clippy::unwrap_used)]

mod artifacts;
mod away;
mod bytes;
mod collection;
mod endings;
mod operators;
mod process;
#[path = "../../../artifacts/tests/store/proxy.rs"]
mod proxy;
mod remote;
mod running;
#[path = "../../../artifacts/tests/store/server.rs"]
mod server;
mod serving;
mod sessions;
mod story;
mod worker;
