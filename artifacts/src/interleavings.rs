//! Goal: whatever the order of uploads, crashes, sweeps and removals, no reader ever sees a part of an artifact, and what
//! was committed stays. Method: generated interleavings against a model, the set of what must be there; a crash is the
//! content of the disk, or of the object store, as it stands at that moment, opened anew.
#![allow(clippy::unwrap_used)]

use crate::folder::Folder;
use crate::remote::Remote;
use crate::store::Place;
use crate::{Store, StoreError, Upload, measure};
use bytes::Bytes;
use ensemble::run::Artifact;
use object_store::memory::InMemory;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Small, so that most contents have several parts.
const PART_BYTES: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Begin { content: usize },
    Write { upload: usize, bytes: usize },
    Commit { upload: usize },
    Drop { upload: usize },
    Remove { content: usize },
    Sweep,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..CONTENTS).prop_map(|content| Step::Begin { content }),
        12 => (0..4_usize, 1..20_usize).prop_map(|(upload, bytes)| Step::Write { upload, bytes }),
        6 => (0..4_usize).prop_map(|upload| Step::Commit { upload }),
        1 => (0..4_usize).prop_map(|upload| Step::Drop { upload }),
        1 => (0..CONTENTS).prop_map(|content| Step::Remove { content }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..60)
}

const CONTENTS: usize = 4;

/// The contents that are put: from nothing to four parts.
fn content(number: usize) -> Bytes {
    (0..number * 11).map(|index| (index * 7 + number) as u8).collect()
}

fn artifact(content: &[u8]) -> Artifact {
    measure(&mut &*content).unwrap()
}

/// What survives a crash.
enum Medium {
    Folder(TempDir),
    Memory(Arc<InMemory>),
}

impl Medium {
    fn open(&self) -> Store {
        let place = match self {
            Self::Folder(folder) => Place::Folder(Folder::open(folder.path().to_owned()).unwrap()),
            Self::Memory(objects) => Place::Remote(Remote::in_memory(objects.clone(), PART_BYTES)),
        };
        Store { place }
    }

    fn as_it_stands(&self) -> Self {
        match self {
            Self::Memory(objects) => Self::Memory(Arc::new(objects.fork())),
            Self::Folder(folder) => {
                let copy = tempfile::tempdir().unwrap();
                copy_folder(folder.path(), copy.path());
                Self::Folder(copy)
            }
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&from, &to);
        } else {
            // A file that is being written may just go.
            let _ = fs::copy(from, to);
        }
    }
}

/// An upload under way.
struct Running {
    content: usize,
    /// How many of its bytes were written.
    written: usize,
    upload: Upload,
}

struct World {
    medium: Medium,
    store: Store,
    running: Vec<Running>,
    /// The contents that must be there.
    committed: BTreeSet<usize>,
}

impl World {
    fn new(medium: Medium) -> Self {
        Self { store: medium.open(), medium, running: Vec::new(), committed: BTreeSet::new() }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Begin { content: number } => {
                let upload = self.store.put(artifact(&content(number))).unwrap();
                self.running.push(Running { content: number, written: 0, upload });
            }
            Step::Write { upload, bytes } => self.write(upload, bytes).await,
            Step::Commit { upload } => self.commit(upload).await,
            Step::Drop { upload } if upload < self.running.len() => {
                self.running.remove(upload).upload.abandon().await;
            }
            Step::Drop { .. } => (),
            Step::Remove { content: number } => {
                self.store.remove(&artifact(&content(number)).digest).await.unwrap();
                self.committed.remove(&number);
            }
            // Uploads that are under way lose their ground: that must be all that they lose.
            Step::Sweep => drop(self.store.sweep_unfinished(Duration::ZERO).await.unwrap()),
            Step::Crash => self.crash().await,
        }
    }

    /// Writes up to `bytes` more; a byte too many once in a while.
    async fn write(&mut self, upload: usize, bytes: usize) {
        let Some(running) = self.running.get_mut(upload) else { return };
        let mut whole = content(running.content).to_vec();
        whole.push(0);
        let piece = &whole[running.written.min(whole.len())..(running.written + bytes).min(whole.len())];
        running.written += piece.len();
        // An upload that was swept or refused says so again at its end.
        let _ = running.upload.write(Bytes::copy_from_slice(piece)).await;
    }

    async fn commit(&mut self, upload: usize) {
        if upload >= self.running.len() {
            return;
        }
        let Running { content: number, written, upload } = self.running.remove(upload);
        let committed = upload.commit().await;
        assert!(committed.is_err() || written == content(number).len(), "{written} bytes of {number} were taken");
        if committed.is_ok() {
            self.committed.insert(number);
        }
    }

    async fn crash(&mut self) {
        self.medium = self.medium.as_it_stands();
        self.store = self.medium.open();
        for Running { upload, .. } in self.running.drain(..) {
            upload.abandon().await;
        }
    }

    async fn invariant_artifacts_are_whole_or_not_at_all(&self) {
        for number in 0..CONTENTS {
            let whole = content(number);
            match read(&self.store, &artifact(&whole)).await {
                Ok(read) => assert_eq!(read, whole, "content {number}"),
                Err(StoreError::Missing(_)) => assert!(!self.committed.contains(&number), "content {number} is lost"),
                Err(error) => panic!("content {number}: {error}"),
            }
        }
    }
}

async fn read(store: &Store, artifact: &Artifact) -> Result<Vec<u8>, StoreError> {
    let mut reader = store.get(&artifact.digest).await?;
    let mut content = Vec::new();
    while let Some(chunk) = reader.next().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

fn check(medium: Medium, steps: Vec<Step>) {
    Runtime::new().unwrap().block_on(async {
        let mut world = World::new(medium);
        for step in steps {
            world.step(step).await;
            world.invariant_artifacts_are_whole_or_not_at_all().await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_interleaving_shows_a_part_of_an_artifact_in_a_folder(steps in steps()) {
        check(Medium::Folder(tempfile::tempdir().unwrap()), steps);
    }

    #[test]
    fn no_interleaving_shows_a_part_of_an_artifact_in_an_object_store(steps in steps()) {
        check(Medium::Memory(Arc::new(InMemory::new())), steps);
    }
}
