//! Artifacts on their way in and out.

use crate::running::{Running, soon};
use crate::worker::{digest, upload};
use proto::v1::{Artifact, DownloadRequest};
use std::fs;
use std::path::{Path, PathBuf};
use tonic::{Code, Status};

fn stored(data_dir: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(data_dir.join("artifacts")).unwrap();
    folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

async fn download(coordinator: &Running, digest: &str) -> Result<Vec<u8>, Status> {
    let request = DownloadRequest { digest: digest.into() };
    let mut chunks = coordinator.artifacts().download(request).await?.into_inner();
    let mut content = Vec::new();
    while let Some(chunk) = soon(chunks.message()).await? {
        content.extend_from_slice(&chunk.data);
    }
    Ok(content)
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let content: Vec<u8> = (0..1_500_000_u32).map(|index| (index % 251) as u8).collect();
    let artifact = Artifact { digest: digest(&content), bytes: content.len() as u64 };
    upload(&mut coordinator.artifacts(), &artifact, &content).await.unwrap();
    assert_eq!(download(&coordinator, &artifact.digest).await.unwrap(), content);
    assert_eq!(download(&coordinator, &"0".repeat(64)).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(download(&coordinator, "../../etc/passwd").await.unwrap_err().code(), Code::InvalidArgument);
    coordinator.stop().await;
}

#[tokio::test]
async fn an_upload_that_breaks_its_word_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let artifact = Artifact { digest: digest(b"weights"), bytes: 7 };
    let too_long = Artifact { bytes: 6, ..artifact.clone() };
    let too_large = Artifact { bytes: u64::MAX, ..artifact.clone() };
    for (announced, content, word) in
        [(artifact, b"weighty", "digest"), (too_long, b"weights", "more than"), (too_large, b"weights", "too large")]
    {
        let status = upload(&mut coordinator.artifacts(), &announced, content).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(word), "{status}");
    }
    assert_eq!(stored(folder.path()), Vec::<PathBuf>::new());
    coordinator.stop().await;
}

#[tokio::test]
async fn a_damaged_artifact_is_reported_and_not_delivered_as_whole() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Running::start(folder.path()).await;
    let artifact = Artifact { digest: digest(b"weights"), bytes: 7 };
    upload(&mut coordinator.artifacts(), &artifact, b"weights").await.unwrap();
    fs::write(&stored(folder.path())[0], b"weighty").unwrap();
    let status = download(&coordinator, &artifact.digest).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    assert!(status.message().contains(&artifact.digest) && status.message().contains("restore it"), "{status}");
    coordinator.stop().await;
}
