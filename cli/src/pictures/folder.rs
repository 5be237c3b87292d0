//! The data folder of a job, if it can be read on this machine.

use crate::exit::Usage;
use anyhow::{Context, Result};
use ensemble::dataset::{self, Files, Part};
use ensemble::job::{Data, DataSummary};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What the headers of the job's data say, or `None` where they are not on this machine: they may be on the workers'.
///
/// # Errors
/// The data are here, and are not what the job says.
pub fn summary(data: &Data) -> Result<Option<DataSummary>> {
    let Some(folder) = Folder::of(data) else { return Ok(None) };
    let summary = dataset::summarize(data.format, data.classes, &folder);
    summary.map(Some).map_err(|error| Usage(format!("the data in {} cannot be used: {error}", data.path)).into())
}

/// The test part of the job's data, or `None` where it is not on this machine.
///
/// # Errors
/// The data are here, and cannot be read.
pub fn test_part(data: &Data) -> Result<Option<Part>> {
    let Some(folder) = Folder::of(data) else { return Ok(None) };
    let dataset = dataset::read(data.format, data.classes, &folder);
    Ok(dataset.with_context(|| format!("cannot read the data in {}", data.path))?.test)
}

struct Folder(PathBuf);

impl Folder {
    fn of(data: &Data) -> Option<Self> {
        let path = PathBuf::from(&data.path);
        path.is_dir().then_some(Self(path))
    }
}

impl Files for Folder {
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match std::fs::metadata(self.0.join(name)) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = usize::try_from(range.end - range.start).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        File::open(self.0.join(name))?.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}
