//! Files that hold what an object store has while it is worked on.

use crate::StoreError;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which room is counted.
const UNIT_BYTES: u64 = 1 << 20;

/// A folder for such files, and how much may lie there at once. The files have no names: they go with their last user,
/// even if it is killed. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Scratch {
    folder: PathBuf,
    units_max: u32,
    free: Arc<Semaphore>,
}

impl Scratch {
    /// Up to `bytes_max` bytes in `folder`, which is made when it is first needed.
    pub fn in_folder(folder: PathBuf, bytes_max: u64) -> Self {
        let units_max = u32::try_from(bytes_max / UNIT_BYTES).unwrap_or(u32::MAX);
        Self { folder, units_max, free: Arc::new(Semaphore::new(units_max as usize)) }
    }

    /// Waits until there is room for all of `bytes`. Who needs several files asks for all at once: half of the room
    /// would be no use to two who wait for each other.
    pub(crate) async fn room(&self, bytes: u64) -> Result<Room, StoreError> {
        let units = bytes.div_ceil(UNIT_BYTES);
        let too_large = StoreError::TooLargeForScratch { bytes, bytes_max: u64::from(self.units_max) * UNIT_BYTES };
        let units = u32::try_from(units).ok().filter(|units| *units <= self.units_max).ok_or(too_large)?;
        let permit = self.free.clone().acquire_many_owned(units).await.map_err(|_| StoreError::GivenUp)?;
        Ok(Room(Arc::new(permit)))
    }

    /// A new file.
    pub(crate) fn file(&self) -> Result<File, StoreError> {
        let made = fs::create_dir_all(&self.folder).and_then(|()| tempfile::tempfile_in(&self.folder));
        made.map_err(StoreError::io(&self.folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Room that is given back with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Room(#[allow(dead_code, reason = "held for its drop")] Arc<OwnedSemaphorePermit>);

/// An artifact as a file for random access, whose digest was found right.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    /// None where the store itself is a folder.
    _room: Option<Room>,
}

impl LocalFile {
    pub(crate) fn new(file: File, room: Option<Room>) -> Self {
        Self { file, _room: room }
    }
}

impl Read for LocalFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for LocalFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
