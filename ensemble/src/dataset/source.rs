//! Files as the parsers see them, and bounded reading.

use super::DatasetError;
use flate2::read::MultiGzDecoder;
use std::io::{self, Read};
use std::ops::Range;

/// Where the files of a data set lie. Implemented by whoever may do IO.
pub trait Files {
    /// The length of a file in bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// Whatever keeps the file from being looked at.
    fn length(&self, name: &str) -> io::Result<Option<u64>>;

    /// The bytes of a file in `range`, which lies within its length.
    ///
    /// # Errors
    /// Whatever keeps the file from being read.
    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// The most bytes of one file.
const MAX_FILE_BYTES: u64 = super::MAX_PIXEL_BYTES + (1 << 30);

/// Deflate turns one byte into 1032 at most (RFC 1951: 258 bytes for two bits), so that a compressed file bounds what
/// can come out of it.
const MAX_EXPANSION: u64 = 1032;

/// A file that is there.
#[derive(Clone)]
pub(super) struct Source<'a> {
    files: &'a dyn Files,
    pub(super) name: &'static str,
    pub(super) length: u64,
}

impl<'a> Source<'a> {
    /// The first of `names` that is there.
    pub(super) fn find(files: &'a dyn Files, names: &[&'static str]) -> Result<Option<Self>, DatasetError> {
        for &name in names {
            if let Some(length) = files.length(name).map_err(|error| unreadable(name, &error))? {
                return Ok(Some(Self { files, name, length }));
            }
        }
        Ok(None)
    }

    /// The first of `names`, without which this file is no use.
    pub(super) fn sibling(&self, names: &[&'static str]) -> Result<Self, DatasetError> {
        Self::find(self.files, names)?
            .ok_or_else(|| DatasetError::Incomplete { name: names[0].to_owned(), present: self.name.to_owned() })
    }

    /// The bytes in `range`, which must lie within the file.
    pub(super) fn range(&self, range: Range<u64>, what: &'static str) -> Result<Vec<u8>, DatasetError> {
        let expected = range.end.saturating_sub(range.start);
        check_limit(self.name, "file", expected, MAX_FILE_BYTES)?;
        if range.end > self.length {
            return Err(self.truncated(what, range.end, self.length));
        }
        let bytes = self.files.read(self.name, range).map_err(|error| unreadable(self.name, &error))?;
        if bytes.len() as u64 == expected { Ok(bytes) } else { Err(self.truncated(what, expected, bytes.len() as u64)) }
    }

    /// The first bytes, fewer where the file has fewer.
    pub(super) fn prefix(&self, limit: u64) -> Result<Vec<u8>, DatasetError> {
        self.range(0..self.length.min(limit), "data")
    }

    /// All bytes.
    pub(super) fn whole(&self) -> Result<Vec<u8>, DatasetError> {
        self.range(0..self.length, "data")
    }

    pub(super) fn truncated(&self, what: &'static str, expected: u64, found: u64) -> DatasetError {
        DatasetError::Truncated { file: self.name.to_owned(), what, expected, found }
    }
}

fn unreadable(name: &str, error: &io::Error) -> DatasetError {
    DatasetError::Unreadable { file: name.to_owned(), reason: error.to_string() }
}

pub(super) fn check_limit(file: &str, what: &'static str, bytes: u64, limit: u64) -> Result<(), DatasetError> {
    if bytes <= limit { Ok(()) } else { Err(DatasetError::TooLarge { file: file.to_owned(), what, bytes, limit }) }
}

/// The content of a file, decompressed on the way if its first bytes are gzip's.
pub(super) struct Content<'a> {
    file: &'static str,
    reader: Box<dyn Read + 'a>,
    /// No more than this can come out of it.
    bound: u64,
}

impl<'a> Content<'a> {
    /// `bytes` are the first of `source`'s, or all of them.
    pub(super) fn new(source: &Source<'_>, bytes: &'a [u8]) -> Self {
        let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn Read + 'a> = if is_gzip { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        let bound = if is_gzip { source.length.saturating_mul(MAX_EXPANSION) } else { source.length };
        Self { file: source.name, reader, bound }
    }

    /// Exactly the next `expected` bytes. Memory grows with what really comes, never ahead of it.
    pub(super) fn take(&mut self, expected: u64, what: &'static str) -> Result<Vec<u8>, DatasetError> {
        check_limit(self.file, what, expected, super::MAX_PIXEL_BYTES)?;
        if expected > self.bound {
            return Err(self.truncated(what, expected, self.bound));
        }
        let mut bytes = Vec::new();
        self.reader.by_ref().take(expected).read_to_end(&mut bytes).map_err(|error| self.damaged(&error))?;
        let found = bytes.len() as u64;
        if found == expected { Ok(bytes) } else { Err(self.truncated(what, expected, found)) }
    }

    /// Fails if anything follows.
    pub(super) fn end(&mut self, expected: u64, what: &'static str) -> Result<(), DatasetError> {
        let mut next = [0];
        match self.reader.read(&mut next).map_err(|error| self.damaged(&error))? {
            0 => Ok(()),
            _ => Err(DatasetError::TrailingBytes { file: self.file.to_owned(), what, expected }),
        }
    }

    fn truncated(&self, what: &'static str, expected: u64, found: u64) -> DatasetError {
        DatasetError::Truncated { file: self.file.to_owned(), what, expected, found }
    }

    fn damaged(&self, error: &io::Error) -> DatasetError {
        DatasetError::Gzip { file: self.file.to_owned(), reason: error.to_string() }
    }
}
