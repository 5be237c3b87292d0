//! What is served: a finished job's ensemble, with all that is needed to ask it and to combine its answers.

use ensemble::combine::Temperature;
use ensemble::id::JobId;
use ensemble::job::Combine;
use ensemble::run::Artifact;
use std::collections::BTreeMap;

/// An ensemble to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// The job, which is also the predictor's name.
    pub job: JobId,
    /// The members that count, in the ensemble's order.
    pub members: Vec<ServedMember>,
    /// What is averaged over them.
    pub combine: Combine,
    /// What the combined logits are divided by.
    pub temperature: Temperature,
    /// How many members must answer.
    pub quorum: usize,
    /// What goes in and out.
    pub model: ServedModel,
}

/// One member of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedMember {
    /// Its index in the job.
    pub index: u32,
    /// What people call it.
    pub name: String,
    /// Its model.
    pub artifact: Artifact,
    /// Its weight, above 0.
    pub weight: f64,
}

/// The sizes that all members share, as their files state them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedModel {
    /// Channels, height and width of an input.
    pub shape: [u32; 3],
    /// How many classes an answer has.
    pub classes: u32,
}

impl ServedModel {
    /// Reads the sizes from a model file's metadata: `shape` ("C,H,W") and `classes`.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let numbers: Result<Vec<u32>, _> =
            metadata.get("shape")?.split(',').map(|number| number.trim().parse()).collect();
        let shape: [u32; 3] = numbers.ok()?.try_into().ok()?;
        let classes = metadata.get("classes")?.parse().ok()?;
        Some(Self { shape, classes }).filter(|model| model.classes > 0 && model.shape.iter().all(|size| *size > 0))
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ensemble::id::Digest;

    /// An ensemble of so many equal members, `seed-0` first.
    pub fn served(members: u32) -> Served {
        let digest = Digest::try_from("0".repeat(64)).unwrap();
        let artifact = Artifact { digest, bytes: 1 };
        let member =
            |index| ServedMember { index, name: format!("seed-{index}"), artifact: artifact.clone(), weight: 1.0 };
        Served {
            job: JobId::new("shapes-1"),
            members: (0..members).map(member).collect(),
            combine: Combine::MeanProbability,
            temperature: Temperature::ONE,
            quorum: members as usize,
            model: ServedModel { shape: [1, 2, 2], classes: 2 },
        }
    }

    #[test]
    fn a_model_file_says_what_goes_in_and_out() {
        let read = |shape: &str, classes: &str| {
            let metadata =
                [("shape", shape), ("classes", classes)].map(|(key, text)| (key.to_owned(), text.to_owned()));
            ServedModel::from_metadata(&metadata.into())
        };
        assert_eq!(read("3,32,30", "10"), Some(ServedModel { shape: [3, 32, 30], classes: 10 }));
        for (shape, classes) in [("3,32", "10"), ("3,32,0", "10"), ("3,32,32", "0"), ("3,32,x", "10"), ("", "")] {
            assert_eq!(read(shape, classes), None, "{shape} {classes}");
        }
    }
}
