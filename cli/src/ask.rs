//! Asks a served ensemble about images.

use crate::coordinator::{self, Coordinator};
use anyhow::{Context, Result};
use bytes::Bytes;
use ensemble::dataset::{Images, Pixels};
use proto::v1::{DataType, DescribeModelsRequest, PredictReply, PredictRequest, Prediction, Tensor};
use std::ops::Range;
use std::time::Duration;
use tonic::Code;

/// A request stays well under the 4 MiB that a message may have, and so does its answer.
const REQUEST_BYTES_MAX: usize = 3 << 20;
const REQUEST_ROWS_MAX: usize = 1024;
/// Workers need a moment to load the members of a job that has just ended.
const LOADING_TRIES: u32 = 150;
const LOADING_PAUSE: Duration = Duration::from_millis(200);

/// What the ensemble says, an answer for each image.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub class_names: Vec<String>,
    pub predictions: Vec<Prediction>,
    pub members_answered: u32,
    pub members_total: u32,
}

impl Answers {
    /// What a class is called: its name, or else its number.
    pub fn class_name(&self, class: u32) -> String {
        self.class_names.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// Asks about all `images`, in as many requests as they need.
///
/// # Errors
/// The job is not served, the images do not fit it, or too few members answer.
pub async fn ask(coordinator: &Coordinator, job: &str, images: &Images) -> Result<Answers> {
    let mut answers = Answers { class_names: class_names(coordinator, job).await?, ..Answers::default() };
    answers.members_answered = u32::MAX;
    for rows in batches(images) {
        let reply = predict(coordinator, job, images, rows).await?;
        answers.members_answered = answers.members_answered.min(reply.members_answered);
        answers.members_total = reply.members_total;
        answers.predictions.extend(reply.predictions);
    }
    let expected = images.count;
    let found = answers.predictions.len();
    anyhow::ensure!(found == expected, "the coordinator gave {found} answers about {expected} images");
    Ok(answers)
}

async fn class_names(coordinator: &Coordinator, job: &str) -> Result<Vec<String>> {
    let request = DescribeModelsRequest { job: job.into(), what: "ensemble".into() };
    let reply = coordinator.jobs().describe_models(request).await.map_err(coordinator::refused)?;
    Ok(reply.into_inner().class_names)
}

fn batches(images: &Images) -> impl Iterator<Item = Range<usize>> {
    let rows = (REQUEST_BYTES_MAX / image_bytes(images)).clamp(1, REQUEST_ROWS_MAX);
    let count = images.count;
    (0..count).step_by(rows).map(move |first| first..(first + rows).min(count))
}

fn image_bytes(images: &Images) -> usize {
    let values: usize = images.shape.iter().product();
    match images.pixels {
        Pixels::U8(_) => values,
        Pixels::F32(_) => 4 * values,
    }
    .max(1)
}

async fn predict(coordinator: &Coordinator, job: &str, images: &Images, rows: Range<usize>) -> Result<PredictReply> {
    let request = PredictRequest { job: job.into(), inputs: Some(tensor(images, rows)?) };
    let mut reason = String::new();
    for _ in 0..LOADING_TRIES {
        match coordinator.predictions().predict(request.clone()).await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) if status.code() == Code::Unavailable && !coordinator::is_transport(&status) => {
                if reason != status.message() {
                    reason = status.message().to_owned();
                    eprintln!("waiting: {reason}");
                }
                tokio::time::sleep(LOADING_PAUSE).await;
            }
            Err(status) => return Err(coordinator::refused(status)),
        }
    }
    coordinator.predictions().predict(request).await.map(tonic::Response::into_inner).map_err(coordinator::refused)
}

fn tensor(images: &Images, rows: Range<usize>) -> Result<Tensor> {
    let values: usize = images.shape.iter().product();
    let range = rows.start * values..rows.end * values;
    let (data_type, data) = match &images.pixels {
        Pixels::U8(pixels) => (DataType::Uint8, pixels[range].to_vec()),
        Pixels::F32(pixels) => (DataType::Fp32, pixels[range].iter().flat_map(|value| value.to_le_bytes()).collect()),
    };
    let sizes = [&[rows.len()], images.shape.as_slice()].concat();
    let shape = sizes.into_iter().map(u32::try_from).collect::<Result<_, _>>().context("the images are too large")?;
    Ok(Tensor { data_type: data_type.into(), shape, data: Bytes::from(data) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn images_are_sent_in_requests_that_fit_a_message() {
        let images =
            Images { count: 2500, shape: [1, 1, 2], pixels: Pixels::F32((0..5000u16).map(f32::from).collect()) };
        let batches: Vec<_> = batches(&images).collect();
        assert_eq!(batches, [0..1024, 1024..2048, 2048..2500]);
        let last = tensor(&images, batches[2].clone()).unwrap();
        assert_eq!((last.shape, &last.data[..4]), (vec![452, 1, 1, 2], 4096f32.to_le_bytes().as_slice()));

        let large = Images { count: 2, shape: [3, 1000, 1000], pixels: Pixels::U8(Vec::new()) };
        assert_eq!(super::batches(&large).collect::<Vec<_>>(), [0..1, 1..2]);
    }
}
