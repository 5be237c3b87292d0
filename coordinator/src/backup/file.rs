//! The backup's file: one line, then the journal.

use super::{BackupError, beside};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The version of the format, in the file's first words.
const MAGIC: &str = "tutti-backup 1";

/// No header line is longer; a file without one must not be read to its end.
const HEADER_BYTES_MAX: u64 = 256;

const CHUNK_BYTES: usize = 1 << 20;

/// What the first line says of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub bytes: u64,
    /// SHA-256, in hexadecimal digits.
    pub digest: String,
}

impl Header {
    fn line(&self) -> String {
        format!("{MAGIC} {} {}\n", self.bytes, self.digest)
    }

    fn parse(line: &str) -> Option<Self> {
        let (bytes, digest) = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { bytes: bytes.parse().ok()?, digest: digest.to_owned() })
    }
}

/// Makes a backup of a copied journal: written and synced under another name, then renamed.
pub(super) fn pack(copy: &Path, file: &Path) -> Result<u64, BackupError> {
    let partial = beside(file, "partial");
    let write = || {
        let mut journal = File::open(copy)?;
        let (bytes, digest) = transfer(&mut journal, &mut io::sink())?;
        journal.seek(SeekFrom::Start(0))?;
        let (line, mut target) = (Header { bytes, digest }.line(), File::create(&partial)?);
        target.write_all(line.as_bytes())?;
        transfer(&mut journal, &mut target)?;
        target.sync_all()?;
        fs::rename(&partial, file)?;
        sync_folder_of(file)?;
        Ok(line.len() as u64 + bytes)
    };
    write().map_err(|error| {
        remove(&partial);
        BackupError::Io { path: file.to_owned(), error }
    })
}

/// Takes the journal out of a backup, if it is what it was.
pub(super) fn unpack(file: &Path, journal: &Path) -> Result<(), BackupError> {
    let damaged = |detail: &str| BackupError::Damaged { path: file.to_owned(), detail: detail.to_owned() };
    let failed = |error| BackupError::Io { path: file.to_owned(), error };
    let mut backup = BufReader::new(File::open(file).map_err(failed)?);
    let mut line = Vec::new();
    backup.by_ref().take(HEADER_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
    let header = std::str::from_utf8(&line).ok().and_then(Header::parse);
    let header = header.ok_or_else(|| damaged("it does not begin like a backup of this version"))?;

    let into = |error| BackupError::Io { path: journal.to_owned(), error };
    let mut target = File::create(journal).map_err(into)?;
    let (bytes, digest) = transfer(&mut backup, &mut target).map_err(into)?;
    if (Header { bytes, digest }) != header {
        return Err(damaged("its content is not what its first line says"));
    }
    target.sync_all().map_err(into)
}

/// Copies everything; how much it was, and its digest.
fn transfer(source: &mut dyn Read, target: &mut dyn Write) -> io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => return Ok((bytes, crate::journal::hex(&hash.finalize()))),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&chunk[..read]);
        target.write_all(&chunk[..read])?;
        bytes += read as u64;
    }
}

/// A new name is durable once its folder is.
pub(super) fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Removes a scratch file, if it is there.
pub(super) fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), %error, "a scratch file is left behind");
    }
}
