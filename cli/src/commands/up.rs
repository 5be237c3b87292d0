//! `tutti up`: a cluster on this machine.

use crate::ask::ask;
use crate::coordinator::Coordinator;
use crate::display::answers::{Layout, answers};
use crate::display::progress::Notes;
use crate::exit::{Interrupted, Usage};
use crate::local::{Cluster, Folder, Settings, Signals};
use crate::output::print_line;
use crate::pictures::{self, Pictures};
use crate::{follow, job_file};
use anyhow::Result;
use ensemble::job::{Job, Override};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Start a coordinator and workers on this machine, until Ctrl-C.
///
/// They listen on free loopback ports. Commands started in the same folder find them by themselves. State and logs stay
/// in the data directory; with the same one, unfinished jobs go on where they were. A process that crashes is started
/// again, a few times in a row at most.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many workers. They share the cores evenly.
    #[arg(long, value_name = "N", default_value = "2")]
    workers: NonZeroUsize,
    /// Where state and logs go.
    #[arg(long, value_name = "FOLDER", default_value = ".tutti")]
    data_dir: PathBuf,
    /// Devices, dealt to the workers in turn: cpu, cuda:0, ….
    #[arg(long = "device", value_name = "DEVICE", default_value = "cpu", value_delimiter = ',')]
    devices: Vec<String>,
    /// Where artifacts lie instead of in the data directory: a folder, s3://, gs:// or az://. Credentials come from the
    /// environment.
    #[arg(long, value_name = "URL")]
    artifacts: Option<String>,
    /// How long tasks go on computing without contact to the coordinator [default: the workers' own, 600].
    #[arg(long, value_name = "SECONDS")]
    away_limit_s: Option<f64>,
    /// Forget what an earlier cluster left in the data directory.
    #[arg(long)]
    fresh: bool,
    /// Run these jobs, print their reports, and stop.
    #[arg(long, value_name = "JOB.yaml")]
    run: Vec<PathBuf>,
    /// Change a value of the job files, as in train.epochs=3. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "run")]
    overrides: Vec<Override>,
    /// After each job that is served, ask its ensemble about this many test images.
    #[arg(long, value_name = "N", requires = "run")]
    predict: Option<usize>,
}

/// Starts the cluster, watches over it, and stops it; nothing is left behind.
pub async fn execute(args: Args) -> Result<()> {
    let jobs = args.run.iter().map(|file| job_file::read(file, &args.overrides)).collect::<Result<Vec<_>>>()?;
    let mut signals = Signals::listen()?;
    let mut cluster = Cluster::new(Folder::claim(&args.data_dir, args.fresh)?);
    let outcome = tokio::select! {
        outcome = session(&mut cluster, &args, &jobs) => outcome,
        () = signals.next() => stopped(&jobs),
    };
    tokio::select! {
        () = cluster.stop() => {}
        () = signals.next() => cluster.kill().await,
    }
    outcome
}

/// Without jobs, a signal is how the command is meant to end.
fn stopped(jobs: &[Job]) -> Result<()> {
    eprintln!("stopping");
    if jobs.is_empty() { Ok(()) } else { Err(Interrupted.into()) }
}

async fn session(cluster: &mut Cluster, args: &Args, jobs: &[Job]) -> Result<()> {
    let settings = Settings {
        workers: args.workers,
        devices: args.devices.clone(),
        artifacts: args.artifacts.clone(),
        away_limit_s: args.away_limit_s,
    };
    let notes = Notes::new();
    let endpoint = cluster.start(&settings).await?;
    notes.say(&greeting(&endpoint, args));
    let work = async {
        if jobs.is_empty() { std::future::pending().await } else { all(&endpoint, jobs, args.predict, &notes).await }
    };
    tokio::select! {
        outcome = work => outcome,
        end = cluster.watch(&notes) => Err(end),
    }
}

fn greeting(endpoint: &str, args: &Args) -> String {
    let (workers, folder) = (args.workers, args.data_dir.display());
    let ready = format!("a coordinator at {endpoint} and {workers} workers are ready; state and logs are in {folder}");
    match (args.run.is_empty(), args.data_dir.as_os_str() == ".tutti") {
        (false, _) => ready,
        (true, true) => format!("{ready}\n`tutti run JOB.yaml` in another terminal gives them work; Ctrl-C stops all"),
        (true, false) => {
            format!(
                "{ready}\n`tutti run JOB.yaml --coordinator {endpoint}` in another terminal gives them work; Ctrl-C stops all"
            )
        }
    }
}

async fn all(endpoint: &str, jobs: &[Job], predict: Option<usize>, notes: &Notes) -> Result<()> {
    let coordinator = Coordinator::connect(endpoint).await?;
    for job in jobs {
        let id = follow::submit(&coordinator, job, notes).await?;
        notes.say(&format!("job {id}"));
        follow::to_its_end(&coordinator, &id, notes).await?;
        follow::print_report(&coordinator, &id).await?;
        if let (Some(count), Some(_)) = (predict, &job.serve) {
            show_predictions(&coordinator, &id, job, count).await?;
        }
    }
    Ok(())
}

/// Asks about test images from the whole of the test part, evenly spaced.
async fn show_predictions(coordinator: &Coordinator, id: &str, job: &Job, count: usize) -> Result<()> {
    let Some(part) = pictures::test_part(&job.data)? else {
        return Err(Usage(format!("there are no test images in {} to ask about", job.data.path)).into());
    };
    let test = Pictures { images: part.images, labels: Some(part.labels) };
    let total = test.images.count;
    let count = count.min(total);
    let picked: Vec<_> = (0..count).map(|index| index * total / count).collect();
    let asked = test.pick(&picked)?;
    print_line(&format!("\nThe ensemble's answers for {count} of {total} test images:\n"))?;
    print_line(&answers(&asked, &ask(coordinator, id, &asked.images).await?, Layout::of_stdout()))
}
