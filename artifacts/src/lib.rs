//! The artifact store: immutable bytes named by their SHA-256, in a folder or in an object store (`s3://`, `gs://`, `az://`).
//!
//! ```text
//!  async:     put ─▶ Upload ──┐                        ┌─▶ folder: temporary file, sync, rename, sync
//!  blocking:  Draft ──────────┼─ digest, size checked ─┤
//!                             │                        └─▶ remote: parts, completed only if they fit
//!  async:     Reader ◀────────┤
//!  blocking:  LocalFile ◀─────┴─ digest checked before the end is believed
//! ```
//!
//! What holds for every place:
//! - An artifact exists under its name whole or not at all, whatever ends the process or breaks the connection.
//! - Nothing exists before its announced digest and size were found right, and nothing that was read is right before
//!   its digest was.
//! - Storing what exists replaces it by its equal: that repairs a damaged artifact, and makes an old one young again,
//!   which is what keeps a collector off it.
//! - No size from outside is believed before it is compared with a bound.

mod blocking;
mod draft;
mod error;
mod folder;
mod hasher;
#[cfg(test)]
mod interleavings;
mod location;
mod reader;
mod remote;
mod scratch;
mod sink;
mod source;
mod store;
mod upload;

pub use draft::Draft;
pub use error::StoreError;
pub use hasher::measure;
pub use location::{InvalidLocation, Location};
pub use reader::Reader;
pub use scratch::{LocalFile, Scratch};
pub use store::{Store, Stored};
pub use upload::Upload;

/// No artifact is larger: 16 GiB hold the training state of four billion parameters in single precision.
pub const ARTIFACT_BYTES_MAX: u64 = 16 << 30;

/// Read, hashed or written at once: enough to keep a disk busy.
const CHUNK_BYTES: usize = 1 << 20;

/// Chunks between a network and a disk: with the above, what one transfer holds in memory.
const CHUNKS_ON_THE_WAY: usize = 4;
