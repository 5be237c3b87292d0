//! `tutti predict`: asks a served ensemble.

use crate::ask::{Answers, ask};
use crate::coordinator::{Address, Coordinator};
use crate::display::answers::{Layout, answers};
use crate::output::{Answer, Output, print_json, print_line};
use crate::pictures::{self, Pictures};
use anyhow::Result;
use std::path::PathBuf;

/// Ask a served ensemble about images.
///
/// Each answer shows the image, the predicted class with its probability, and how many members agree.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's name, as `tutti get jobs` shows it.
    job: String,
    /// The images: IDX (plain or gzip), or safetensors with `x` [N, C, H, W].
    #[arg(long, value_name = "FILE")]
    images: PathBuf,
    /// Their true classes: IDX, or safetensors with `y` [N]. A `y` beside the images' `x` is found by itself.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Ask about the first N images.
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "pick")]
    first: usize,
    /// Ask about these images, by their numbers from 0: 3,14,159.
    #[arg(long, value_name = "I,J,…", value_delimiter = ',')]
    pick: Vec<usize>,
    /// Pictures and words, or JSON of a documented shape.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    address: Address,
}

/// Asks and prints the answers.
pub async fn execute(args: Args) -> Result<()> {
    let all = pictures::read(&args.images, args.labels.as_deref())?;
    let picked = if args.pick.is_empty() { (0..args.first.min(all.images.count)).collect() } else { args.pick };
    let asked = all.pick(&picked)?;
    let coordinator = Coordinator::find(&args.address).await?;
    let given = ask(&coordinator, &args.job, &asked.images).await?;
    match args.output {
        Output::Json => print_json(&in_json(&picked, &asked, &given)),
        Output::Table => print_line(&answers(&asked, &given, Layout::of_stdout())),
    }
}

fn in_json(picked: &[usize], asked: &Pictures, given: &Answers) -> Vec<Answer> {
    let answer = |(index, prediction): (usize, &proto::v1::Prediction)| Answer {
        image: picked[index],
        class: prediction.class,
        class_name: given.class_name(prediction.class),
        truth: asked.labels.as_ref().map(|labels| labels[index]),
        probabilities: prediction.probabilities.clone(),
        predictive_entropy: prediction.predictive_entropy,
        mutual_information: prediction.mutual_information,
        members_agreeing: prediction.members_agreeing,
        members_answered: given.members_answered,
        members_total: given.members_total,
    };
    given.predictions.iter().enumerate().map(answer).collect()
}
