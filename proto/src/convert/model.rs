//! Artifacts, the kinds of models, and scores.

use super::Malformed;
use crate::v1;
use ensemble::id::Digest;
use ensemble::metrics::Scores;
use ensemble::run::{Artifact, ModelKind};

impl From<Artifact> for v1::Artifact {
    fn from(artifact: Artifact) -> Self {
        Self { digest: artifact.digest.into(), bytes: artifact.bytes }
    }
}

impl TryFrom<v1::Artifact> for Artifact {
    type Error = Malformed;

    fn try_from(wire: v1::Artifact) -> Result<Self, Malformed> {
        let digest = Digest::try_from(wire.digest).map_err(|error| Malformed::new("digest", error))?;
        Ok(Self { digest, bytes: wire.bytes })
    }
}

impl From<ModelKind> for v1::ModelKind {
    fn from(kind: ModelKind) -> Self {
        use v1::model_kind::Kind;
        let kind = match kind {
            ModelKind::Final => Kind::Final(v1::FinalModel {}),
            ModelKind::Snapshot { cycle } => Kind::SnapshotCycle(cycle),
            ModelKind::Average { index } => Kind::AverageIndex(index),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::ModelKind> for ModelKind {
    type Error = Malformed;

    fn try_from(wire: v1::ModelKind) -> Result<Self, Malformed> {
        use v1::model_kind::Kind;
        match wire.kind {
            Some(Kind::Final(_)) => Ok(Self::Final),
            Some(Kind::SnapshotCycle(cycle)) => Ok(Self::Snapshot { cycle }),
            Some(Kind::AverageIndex(index)) => Ok(Self::Average { index }),
            None => Err(Malformed::new("kind", "is missing")),
        }
    }
}

impl From<Scores> for v1::Scores {
    fn from(scores: Scores) -> Self {
        Self {
            accuracy: scores.accuracy,
            nll: scores.nll,
            brier: scores.brier,
            ece: scores.ece,
            samples: scores.samples,
        }
    }
}

impl From<v1::Scores> for Scores {
    fn from(wire: v1::Scores) -> Self {
        Self { accuracy: wire.accuracy, nll: wire.nll, brier: wire.brier, ece: wire.ece, samples: wire.samples }
    }
}
