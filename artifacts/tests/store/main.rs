//! The same promises in a folder and in a real S3 server, which checks signatures and checksums.

#![allow(clippy::unwrap_used)]

mod bench;
mod faults;
mod promises;
mod proxy;
mod server;
