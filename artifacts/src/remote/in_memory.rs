//! An object store in the test's memory, which can be copied as it stands at any moment.

use super::Remote;
use crate::{Location, Scratch};
use object_store::memory::InMemory;
use object_store::path::Path;
use std::sync::Arc;

/// What the test does not say of the store.
const SCRATCH_BYTES: u64 = 1 << 20;

impl Remote {
    /// A store on these objects, with parts of `part_bytes`.
    pub(crate) fn in_memory(objects: Arc<InMemory>, part_bytes: usize) -> Self {
        let location: Location = "s3://memory".parse().expect("it is a URL");
        let scratch = Scratch::in_folder(std::env::temp_dir(), SCRATCH_BYTES);
        Self { part_bytes, ..Self::new(&location, &Path::default(), objects, scratch) }
    }
}
