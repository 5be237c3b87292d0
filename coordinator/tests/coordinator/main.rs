//! A whole coordinator in the test's process, over real gRPC, and workers that do as a test says.

#![allow(clippy::unwrap_used)]

mod artifacts;
mod bytes;
mod endings;
mod process;
mod running;
mod serving;
mod sessions;
mod story;
mod worker;
