//! Digest and size of bytes that come one piece after the other.

use crate::{ARTIFACT_BYTES_MAX, CHUNK_BYTES, StoreError};
use ensemble::id::Digest;
use ensemble::run::Artifact;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read};

/// What has come so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher {
    sha: Sha256,
    bytes: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.sha.update(piece);
        self.bytes += piece.len() as u64;
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn finish(self) -> Artifact {
        Artifact { digest: digest_of(self.sha), bytes: self.bytes }
    }
}

/// Whether what was found is what the name says.
pub(crate) fn check(name: &Digest, found: &Artifact) -> Result<(), StoreError> {
    let Artifact { digest, bytes } = found;
    if digest == name {
        return Ok(());
    }
    Err(StoreError::Damaged { digest: name.clone(), found: format!("its {bytes} bytes have the digest {digest}") })
}

fn digest_of(sha: Sha256) -> Digest {
    let hexadecimal = sha.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    });
    Digest::try_from(hexadecimal).expect("a SHA-256 is 64 hexadecimal digits")
}

/// Digest and size of what remains of a stream.
///
/// # Errors
/// When it cannot be read.
pub fn measure(stream: &mut impl Read) -> io::Result<Artifact> {
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; CHUNK_BYTES]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// An upload held against its announcement.
#[derive(Debug)]
pub(crate) struct Intake {
    announced: Artifact,
    hasher: Hasher,
}

impl Intake {
    pub(crate) fn new(announced: Artifact) -> Result<Self, StoreError> {
        if announced.bytes > ARTIFACT_BYTES_MAX {
            return Err(StoreError::TooLarge(announced.bytes));
        }
        Ok(Self { announced, hasher: Hasher::default() })
    }

    /// Takes the next bytes. More than announced are refused before anybody stores them.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(piece);
        if self.hasher.bytes() > self.announced.bytes {
            return Err(StoreError::Mismatch(format!("more than the {} bytes announced", self.announced.bytes)));
        }
        Ok(())
    }

    /// What came, if it is what was announced.
    pub(crate) fn finish(self) -> Result<Artifact, StoreError> {
        let Self { announced, hasher } = self;
        let received = hasher.finish();
        if received.bytes != announced.bytes {
            return Err(StoreError::Mismatch(format!("{} bytes of {} arrived", received.bytes, announced.bytes)));
        }
        if received.digest != announced.digest {
            return Err(StoreError::Mismatch(format!("the digest is {}, not {}", received.digest, announced.digest)));
        }
        Ok(received)
    }
}
