//! What holds for every place.

use crate::bench::{Bench, artifact, connect, content, files};
use crate::server::serve;
use artifacts::{Store, StoreError};
use bytes::Bytes;
use ensemble::id::Digest;
use ensemble::run::Artifact;
use futures_util::TryStreamExt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, SystemTime};
use tokio::task::spawn_blocking;

macro_rules! in_both_places {
    ($($promise:ident),* $(,)?) => {
        mod in_a_folder {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::folder().await).await })*
        }
        mod in_s3 {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::s3().await).await })*
        }
    };
}

in_both_places!(
    what_is_put_can_be_read,
    large_artifacts_are_put_in_parts,
    a_broken_promise_leaves_nothing,
    a_damaged_artifact_is_reported_and_a_new_upload_repairs_it,
    a_new_upload_makes_an_artifact_young,
    what_is_listed_can_be_removed,
    files_go_in_and_come_out,
    drafts_are_named_at_their_end,
);

/// Larger than three parts of an upload, and no multiple of anything.
const LARGE: usize = (25 << 20) + 4711;

async fn put(store: &Store, announced: &Artifact, content: &[u8]) -> Result<Artifact, StoreError> {
    let mut upload = store.put(announced.clone())?;
    for chunk in content.chunks(1 << 20) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.commit().await
}

async fn get(store: &Store, digest: &Digest) -> Result<Vec<u8>, StoreError> {
    let mut reader = store.get(digest).await?;
    let mut content = Vec::new();
    while let Some(chunk) = reader.next().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

async fn read(store: &Store, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
    let (store, digest) = (store.clone(), digest.clone());
    spawn_blocking(move || store.blocking_read(&digest, bytes_max)).await.unwrap()
}

/// The digest is the one of FIPS 180-2, appendix B.1.
async fn what_is_put_can_be_read(bench: Bench) {
    let store = &bench.store;
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    let announced = Artifact { digest: Digest::try_from(abc).unwrap(), bytes: 3 };
    assert!(!store.holds(&announced).await.unwrap());
    assert!(matches!(get(store, &announced.digest).await, Err(StoreError::Missing(_))));
    assert_eq!(put(store, &announced, b"abc").await.unwrap(), announced);
    assert!(store.holds(&announced).await.unwrap());
    assert!(!store.holds(&Artifact { bytes: 4, ..announced.clone() }).await.unwrap());
    assert_eq!(get(store, &announced.digest).await.unwrap(), b"abc");
    assert_eq!(read(store, &announced.digest, 3).await.unwrap(), b"abc");
    let refused = read(store, &announced.digest, 2).await;
    assert!(matches!(refused, Err(StoreError::TooLargeToRead { bytes: 3, .. })));
    let empty = artifact(b"");
    put(store, &empty, b"").await.unwrap();
    assert_eq!(get(store, &empty.digest).await.unwrap(), b"");
}

async fn large_artifacts_are_put_in_parts(bench: Bench) {
    let content = content(1, LARGE);
    let large = artifact(&content);
    put(&bench.store, &large, &content).await.unwrap();
    assert!(get(&bench.store, &large.digest).await.unwrap() == content);
    assert_eq!(bench.content(), [bench.file(&large)], "the parts and the note of the upload are gone");
}

async fn a_broken_promise_leaves_nothing(bench: Bench) {
    let store = &bench.store;
    let content = content(2, LARGE);
    let honest = artifact(&content);
    let longer = Artifact { bytes: honest.bytes + 1, ..honest.clone() };
    let shorter = Artifact { bytes: honest.bytes - 1, ..honest.clone() };
    let other = Artifact { digest: artifact(b"others").digest, ..honest.clone() };
    for (announced, word) in [(longer, "bytes of"), (shorter, "more than"), (other, "digest")] {
        let error = put(store, &announced, &content).await.unwrap_err();
        assert!(matches!(&error, StoreError::Mismatch(problem) if problem.contains(word)), "{error}");
    }
    let too_large = Artifact { bytes: u64::MAX, ..honest.clone() };
    assert!(matches!(store.put(too_large), Err(StoreError::TooLarge(u64::MAX))));
    drop_half_way(store, &honest, &content).await;
    assert_eq!(bench.content(), Vec::<std::path::PathBuf>::new());
}

/// An upload that is dropped ends on a thread of its own: a later one that fails has it behind itself.
async fn drop_half_way(store: &Store, announced: &Artifact, content: &[u8]) {
    let mut upload = store.put(announced.clone()).unwrap();
    for chunk in content[..LARGE / 2].chunks(1 << 20) {
        upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    upload.abandon().await;
}

async fn a_damaged_artifact_is_reported_and_a_new_upload_repairs_it(bench: Bench) {
    let store = &bench.store;
    let stored = put(store, &artifact(b"weights"), b"weights").await.unwrap();
    for damage in [&b"weighty"[..], b"weight", b"weights and more", b""] {
        fs::write(bench.file(&stored), damage).unwrap();
        let error = get(store, &stored.digest).await.unwrap_err();
        assert_eq!(error.lost(), Some(&stored.digest), "{error}");
        assert!(!error.is_passing() && error.to_string().contains("restore it"), "{error}");
        let (files, artifacts) = (store.clone(), [stored.clone()]);
        let error = spawn_blocking(move || files.blocking_files(&artifacts)).await.unwrap().unwrap_err();
        assert_eq!(error.lost(), Some(&stored.digest), "{error}");
        let copy = bench.scratch.with_file_name("copy");
        assert!(store.fetch_file(&stored.digest, &copy).await.is_err() && !copy.exists());
        put(store, &stored, b"weights").await.unwrap();
        assert_eq!(read(store, &stored.digest, 100).await.unwrap(), b"weights");
    }
}

async fn a_new_upload_makes_an_artifact_young(bench: Bench) {
    let store = &bench.store;
    let stored = put(store, &artifact(b"weights"), b"weights").await.unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(bench.file(&stored)).unwrap().set_modified(long_ago).unwrap();
    let head = store.head(&stored.digest).await.unwrap().unwrap();
    assert_eq!((&head.artifact, head.modified), (&stored, long_ago));
    assert!(head.age(SystemTime::now()) > Duration::from_secs(3600));
    put(store, &stored, b"weights").await.unwrap();
    let head = store.head(&stored.digest).await.unwrap().unwrap();
    assert!(head.age(SystemTime::now()) < Duration::from_secs(3600));
}

async fn what_is_listed_can_be_removed(bench: Bench) {
    let store = &bench.store;
    let mut all = Vec::new();
    for seed in 0..30 {
        let content = content(seed, seed as usize);
        all.push(put(store, &artifact(&content), &content).await.unwrap());
    }
    fs::write(bench.file(&all[0]).with_file_name("README"), "no artifact").unwrap();
    let list = async || {
        let mut listed: Vec<_> = store.list().map_ok(|stored| stored.artifact).try_collect().await.unwrap();
        listed.sort_by(|a: &Artifact, b| a.digest.cmp(&b.digest));
        listed
    };
    all.sort_by(|a, b| a.digest.cmp(&b.digest));
    assert_eq!(list().await, all);
    let gone = all.pop().unwrap();
    store.remove(&gone.digest).await.unwrap();
    store.remove(&gone.digest).await.unwrap();
    assert_eq!((list().await, store.head(&gone.digest).await.unwrap()), (all, None));
}

async fn files_go_in_and_come_out(bench: Bench) {
    let folder = tempfile::tempdir().unwrap();
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    let content = content(3, LARGE);
    fs::write(&there, &content).unwrap();
    let stored = bench.store.put_file(&there).await.unwrap();
    assert_eq!(stored, artifact(&content));
    bench.store.fetch_file(&stored.digest, &back).await.unwrap();
    assert!(fs::read(&back).unwrap() == content);
    let missing = bench.store.fetch_file(&artifact(b"other").digest, &folder.path().join("none")).await;
    assert!(matches!(missing, Err(StoreError::Missing(_))));
    assert_eq!(files(folder.path()).len(), 2, "no half of a file stays");
}

async fn drafts_are_named_at_their_end(bench: Bench) {
    let content = content(4, LARGE);
    let (store, written) = (bench.store.clone(), content.clone());
    let (stored, mut files) = spawn_blocking(move || {
        store.blocking_draft().unwrap().write_all(b"dropped").unwrap();
        let mut draft = store.blocking_draft().unwrap();
        written.chunks(70_000).for_each(|chunk| draft.write_all(chunk).unwrap());
        let stored = draft.commit().unwrap();
        let small = store.blocking_draft().unwrap().commit().unwrap();
        let files = store.blocking_files(&[stored.clone(), small]).unwrap();
        (stored, files)
    })
    .await
    .unwrap();
    assert_eq!(stored, artifact(&content));
    let mut some = vec![0; 1000];
    files[0].seek(SeekFrom::Start(7_000_000)).unwrap();
    files[0].read_exact(&mut some).unwrap();
    assert_eq!(some, content[7_000_000..7_001_000]);
    assert_eq!(files[1].read(&mut some).unwrap(), 0);
    assert_eq!(bench.content().len(), 2);
    assert!(!bench.scratch.exists() || files_in(&bench.scratch) == 0, "what lies in the scratch folder has no name");
}

fn files_in(folder: &std::path::Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept_once_it_is_old() {
    let bench = Bench::folder().await;
    let leftover = bench.file(&artifact(b"")).parent().unwrap().with_file_name("temporary").join("leftover");
    fs::write(&leftover, "half").unwrap();
    let draft = bench.store.blocking_draft().unwrap();
    assert_eq!(bench.store.sweep_unfinished(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(bench.store.sweep_unfinished(Duration::ZERO).await.unwrap(), 1);
    draft.commit().expect("who is at work still is not swept, however long it takes");
    bench.store.remove(&artifact(b"").digest).await.unwrap();
    assert_eq!(bench.content(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_wrong_key_is_told_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let address = serve(root.path()).await;
    let error = connect(address, "another secret", root.path(), 1 << 20).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("credentials in the environment"), "{error}");
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
}

#[tokio::test]
async fn the_scratch_folder_has_a_bound() {
    let root = tempfile::tempdir().unwrap();
    let address = serve(root.path()).await;
    let store = connect(address, crate::server::SECRET_KEY, &root.path().join("scratch"), 2 << 20).await.unwrap();
    let content = content(5, 1 << 20);
    let stored = put(&store, &artifact(&content), &content).await.unwrap();
    let take = |count: usize| {
        let (store, artifacts) = (store.clone(), vec![stored.clone(); count]);
        spawn_blocking(move || store.blocking_files(&artifacts))
    };
    let error = take(3).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::TooLargeForScratch { bytes_max: 2_097_152, .. }), "{error}");
    let files = take(2).await.unwrap().unwrap();
    let waiting = take(1);
    drop(files);
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1, "room is given back");
}
