//! The artifact store: immutable bytes under their digest.

use super::random::mix;
use ensemble::id::Digest;
use ensemble::run::Artifact;
use std::collections::BTreeMap;

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

/// All artifacts.
#[derive(Clone, Debug, Default)]
pub struct Store(BTreeMap<Digest, Content>);

impl Store {
    pub fn put(&mut self, content: Content) -> Artifact {
        let artifact = content.artifact();
        self.0.insert(artifact.digest.clone(), content);
        artifact
    }

    pub fn read(&self, digest: &Digest) -> Option<Content> {
        self.0.get(digest).copied()
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
