//! A data set's folder on disk.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ensemble::dataset::Files;
use sha2::{Digest as _, Sha256};

/// A folder that remembers which files were looked for.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    names: RefCell<BTreeSet<String>>,
}

/// The state of a data set's files, as the file system tells it without their being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<(String, Option<(u64, SystemTime)>)>);

impl Folder {
    /// The folder at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), names: RefCell::default() }
    }

    /// Lengths and times of the files looked for so far; nothing for those that are not there.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.names.borrow().iter().map(|name| (name.clone(), self.look_at(name))).collect())
    }

    fn look_at(&self, name: &str) -> Option<(u64, SystemTime)> {
        let found = fs::metadata(self.root.join(name)).ok()?;
        Some((found.len(), found.modified().ok()?))
    }

    /// Whether the files that `stamp` names are as they were then.
    pub fn is_unchanged_since(&self, stamp: &Stamp) -> bool {
        stamp.0.iter().all(|(name, then)| self.look_at(name) == *then)
    }

    /// The SHA-256 of the files found so far, by name: of each its name, a zero byte, its length (8 bytes, little-endian)
    /// and its content.
    pub fn digest(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        for name in self.names.borrow().iter().filter(|name| self.look_at(name).is_some()) {
            let mut file = File::open(self.root.join(name))?;
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(file.metadata()?.len().to_le_bytes());
            copy(&mut file, &mut hash)?;
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn copy(file: &mut File, hash: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hash.update(&buffer[..read]),
        }
    }
}

impl Files for Folder {
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.names.borrow_mut().insert(name.to_owned());
        match fs::metadata(self.root.join(name)) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.root.join(name))?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
