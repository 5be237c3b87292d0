//! A job's progress: bars on a terminal, a line for each epoch elsewhere. Both go to the standard error stream.

mod bars;
mod lines;

use bars::Bars;
use lines::Lines;
use proto::v1::{JobStatus, Progress};
use std::io::IsTerminal;

/// Shows how a job goes on.
pub enum Screen {
    /// A bar for each run at work.
    Bars(Bars),
    /// A line whenever a run begins, finishes an epoch, or ends.
    Lines(Lines),
}

impl Screen {
    /// Bars where a person looks on, lines where a file or a log does.
    pub fn new(notes: &Notes) -> Self {
        match &notes.0 {
            Some(bars) => Self::Bars(Bars::new(bars.clone())),
            None => Self::Lines(Lines::default()),
        }
    }

    /// Brings the picture up to date.
    pub fn show(&mut self, status: &JobStatus) {
        match self {
            Self::Bars(bars) => bars.show(status),
            Self::Lines(lines) => lines.news(status).iter().for_each(|line| eprintln!("{line}")),
        }
    }
}

/// Says things beside the progress without tearing it.
#[derive(Clone)]
pub struct Notes(Option<indicatif::MultiProgress>);

impl Notes {
    /// Notes for the standard error stream as it is.
    pub fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(indicatif::MultiProgress::new))
    }

    /// Writes a line above the bars.
    pub fn say(&self, line: &str) {
        match &self.0 {
            Some(bars) => bars.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

/// `loss 0.412  acc. 85.3 %  lr 0.0800  62 steps/s`
fn figures(progress: &Progress) -> String {
    let Progress { loss, accuracy, learning_rate, steps_per_second, .. } = progress;
    let speed =
        if *steps_per_second < 10.0 { format!("{steps_per_second:.1}") } else { format!("{steps_per_second:.0}") };
    format!("loss {loss:.3}  acc. {:.1} %  lr {learning_rate:.4}  {speed} steps/s", 100.0 * accuracy)
}

/// `validation 91.2 %`, where the run has been validated.
fn validation(progress: &Progress) -> Option<String> {
    progress.validation_accuracy.map(|accuracy| format!("validation {:.1} %", 100.0 * accuracy))
}

/// What a run that is done leaves: `loss 0.213  validation 91.2 %`.
fn last_words(progress: &Progress) -> String {
    let parts = [Some(format!("loss {:.3}", progress.loss)), validation(progress)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// What is going on beside the runs at work, in a few words.
fn rest(status: &JobStatus) -> String {
    let waiting = status.runs.iter().filter(|run| run.state == "waiting").count();
    let (ready, total) = status.job.as_ref().map_or((0, 0), |job| (job.members_ready, job.members_total));
    let mut parts = vec![format!("{ready} of {total} members ready")];
    if waiting > 0 {
        parts.push(format!("{} waiting", counted(waiting, "run")));
    }
    if status.evaluations_open > 0 {
        parts.push(format!("{} open", counted(status.evaluations_open as usize, "evaluation")));
    }
    parts.extend(detail(status).map(str::to_owned));
    parts.join(" · ")
}

/// What the job waits for, or what has become of its members, if there is something to say.
fn detail(status: &JobStatus) -> Option<&str> {
    status.job.as_ref().map(|job| job.detail.as_str()).filter(|detail| !detail.is_empty())
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
