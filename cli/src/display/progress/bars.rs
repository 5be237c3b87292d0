//! A bar for each run at work, and one line for all the rest.

use super::{figures, last_words, rest};
use crate::display::time::clock;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::v1::{JobStatus, Progress, RunProgress};
use std::collections::HashMap;
use std::time::Duration;

const BAR: &str = "{prefix} {wide_bar:.cyan/dim} {percent:>3} %  {msg}";
const REST: &str = "{spinner:.cyan} {msg}";

/// The bars on the screen. They go when this is dropped.
pub struct Bars {
    screen: MultiProgress,
    runs: HashMap<String, ProgressBar>,
    rest: ProgressBar,
}

impl Bars {
    pub fn new(screen: MultiProgress) -> Self {
        let rest = screen.add(ProgressBar::new_spinner().with_style(style(REST)));
        rest.enable_steady_tick(Duration::from_millis(120));
        Self { screen, runs: HashMap::new(), rest }
    }

    pub fn show(&mut self, status: &JobStatus) {
        let width = status.runs.iter().map(|run| run.run.len()).max().unwrap_or(0);
        for run in &status.runs {
            match run.state.as_str() {
                "training" => self.at_work(run, width),
                _ => self.ended(run, width),
            }
        }
        self.rest.set_message(rest(status));
    }

    fn at_work(&mut self, run: &RunProgress, width: usize) {
        let bar = self.runs.entry(run.run.clone()).or_insert_with(|| {
            let bar = ProgressBar::new(1).with_style(style(BAR)).with_prefix(format!("{:width$}", run.run));
            self.screen.insert_before(&self.rest, bar)
        });
        if let Some(progress) = &run.progress {
            bar.set_length(progress.steps.max(1));
            bar.set_position(progress.step);
            bar.set_message(message(progress));
        } else {
            bar.set_message(format!("starting on {}", run.worker));
        }
    }

    /// A run that stops being at work leaves its bar; one that is done leaves a line as well.
    fn ended(&mut self, run: &RunProgress, width: usize) {
        let Some(bar) = self.runs.remove(&run.run) else { return };
        bar.finish_and_clear();
        self.screen.remove(&bar);
        let last = run.progress.as_ref().map(last_words).unwrap_or_default();
        self.screen.suspend(|| eprintln!("{:width$} {}  {last}", run.run, run.state));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.runs.values().chain([&self.rest]).for_each(ProgressBar::finish_and_clear);
        let _ = self.screen.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates are constants of this file");
    style.progress_chars("━━─")
}

fn message(progress: &Progress) -> String {
    let left = progress.steps.saturating_sub(progress.step) as f64 / progress.steps_per_second;
    let left = if left.is_finite() { format!("  {} left", clock(left)) } else { String::new() };
    figures(progress) + &left
}
