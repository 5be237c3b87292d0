//! The artifact store: immutable bytes under their digest.

use super::agenda::Time;
use super::random::mix;
use ensemble::id::Digest;
use ensemble::run::Artifact;
use std::collections::{BTreeMap, BTreeSet};

/// What an artifact's bytes say. Two artifacts with the same content have the same digest, as with real bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The state of a run after a step. `run` stands for the run and its job.
    Checkpoint { run: u64, step: u64, state: u64 },
    /// Weights.
    Model { state: u64 },
    /// What a model says of the data.
    Predictions { state: u64 },
}

/// An artifact in the store.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    pub content: Content,
    /// Whether the bytes are still what the digest says.
    pub whole: bool,
    pub stored: Time,
}

/// All artifacts.
#[derive(Clone, Debug, Default)]
pub struct Store(BTreeMap<Digest, Object>);

impl Store {
    /// Stores bytes. Where they are already and damaged, they are whole again.
    pub fn put(&mut self, now: Time, content: Content) -> Artifact {
        let artifact = content.artifact();
        self.0.insert(artifact.digest.clone(), Object { content, whole: true, stored: now });
        artifact
    }

    pub fn get(&self, digest: &Digest) -> Option<&Object> {
        self.0.get(digest)
    }

    /// The bytes, if they are there and are what the digest says.
    pub fn read(&self, digest: &Digest) -> Option<Content> {
        self.get(digest).filter(|object| object.whole).map(|object| object.content)
    }

    /// Damages an artifact. Says whether it was there and whole.
    pub fn damage(&mut self, digest: &Digest) -> bool {
        self.0.get_mut(digest).is_some_and(|object| std::mem::replace(&mut object.whole, false))
    }

    /// Removes what nobody refers to and was stored before `floor`. Gives how much that was.
    pub fn collect(&mut self, references: &BTreeSet<Digest>, floor: Time) -> usize {
        let before = self.0.len();
        self.0.retain(|digest, object| references.contains(digest) || object.stored >= floor);
        before - self.0.len()
    }
}

impl Content {
    pub fn artifact(self) -> Artifact {
        let (kind, one, two, three) = match self {
            Self::Checkpoint { run, step, state } => (1, run, step, state),
            Self::Model { state } => (2, state, 0, 0),
            Self::Predictions { state } => (3, state, 0, 0),
        };
        let seed = mix(mix(mix(kind, one), two), three);
        let digest: String = (0..4).map(|part| format!("{:016x}", mix(seed, part))).collect();
        Artifact { digest: Digest::try_from(digest).expect("64 hexadecimal digits"), bytes: 1 + seed % 1000 }
    }
}
