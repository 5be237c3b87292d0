//! The wire: generated messages and services, and their conversions to and from the domain.
//!
//! The code under `generated/` is committed, so that building needs no protobuf compiler; a test generates it anew from
//! the `.proto` files and compares (`UPDATE=1 cargo test -p proto` writes it).

pub mod convert;

/// The messages and services of `tutti.v1`.
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/tutti.v1.rs");
}

/// The encoded descriptors of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
