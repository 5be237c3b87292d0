//! Progress for logs: a line when something has happened that is worth one.

use super::{detail, figures, last_words, rest, validation};
use proto::v1::{JobStatus, Progress, RunProgress};
use std::collections::HashMap;

/// What has been said already.
#[derive(Default)]
pub struct Lines {
    runs: HashMap<String, Said>,
    members_ready: u32,
    detail: String,
}

#[derive(Clone, Default, PartialEq)]
struct Said {
    state: String,
    attempt: u32,
    epoch: u64,
}

impl Lines {
    /// The lines that are due.
    pub fn news(&mut self, status: &JobStatus) -> Vec<String> {
        let width = status.runs.iter().map(|run| run.run.len()).max().unwrap_or(0);
        let mut lines: Vec<_> = status.runs.iter().filter_map(|run| self.run(run, width)).collect();
        let ready = status.job.as_ref().map_or(0, |job| job.members_ready);
        let detail = detail(status).unwrap_or_default().to_owned();
        let known = (std::mem::replace(&mut self.members_ready, ready), std::mem::replace(&mut self.detail, detail));
        if known != (self.members_ready, self.detail.clone()) {
            lines.push(rest(status));
        }
        lines
    }

    fn run(&mut self, run: &RunProgress, width: usize) -> Option<String> {
        let epoch = run.progress.as_ref().map_or(0, |progress| progress.epoch as u64);
        let now = Said { state: run.state.clone(), attempt: run.attempt, epoch };
        let said =
            self.runs.entry(run.run.clone()).or_insert_with(|| Said { state: "waiting".into(), ..Said::default() });
        if *said == now {
            return None;
        }
        let known = said.state == now.state && said.attempt == now.attempt;
        *said = now;
        let news = match (&run.progress, run.state.as_str()) {
            (Some(progress), "training") if known => epochs(progress),
            (_, "training") => format!("training on {}, attempt {}", run.worker, run.attempt),
            (Some(progress), "done") => format!("done  {}", last_words(progress)),
            (_, state) => state.to_owned(),
        };
        Some(format!("{:width$}  {news}", run.run))
    }
}

fn epochs(progress: &Progress) -> String {
    let total = (progress.epoch * progress.steps as f64 / progress.step.max(1) as f64).round();
    let line = format!("epoch {} of {total}  {}", progress.epoch as u64, figures(progress));
    [Some(line), validation(progress)].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1::Job;

    fn status(state: &str, attempt: u32, step: u64, members_ready: u32) -> JobStatus {
        let progress = (step > 0).then_some(Progress {
            step,
            steps: 1000,
            epoch: step as f64 / 200.0,
            loss: 0.4123,
            accuracy: 0.853,
            learning_rate: 0.08,
            steps_per_second: 62.4,
            validation_accuracy: (step >= 400).then_some(0.911),
            validation_nll: None,
        });
        let run =
            RunProgress { run: "seed-0".into(), state: state.into(), worker: "worker-1".into(), attempt, progress };
        let job = Job { members_ready, members_total: 4, ..Job::default() };
        JobStatus { job: Some(job), runs: vec![run], evaluations_open: 2 }
    }

    fn waiting_for(what: &str) -> JobStatus {
        let mut status = status("done", 2, 1000, 1);
        status.job.as_mut().into_iter().for_each(|job| job.detail = what.into());
        status
    }

    #[test]
    fn a_line_for_each_beginning_epoch_and_end() {
        let mut lines = Lines::default();
        let story = [
            status("waiting", 0, 0, 0),
            status("training", 1, 0, 0),
            status("training", 1, 10, 0),
            status("training", 1, 200, 0),
            status("training", 1, 250, 0),
            status("training", 1, 400, 0),
            status("waiting", 1, 400, 0),
            status("training", 2, 400, 0),
            status("done", 2, 1000, 1),
            status("done", 2, 1000, 1),
            waiting_for("waits for a worker"),
            waiting_for("waits for a worker"),
        ];
        let said: Vec<_> = story.iter().flat_map(|status| lines.news(status)).collect();
        let expected = "\
seed-0  training on worker-1, attempt 1
seed-0  epoch 1 of 5  loss 0.412  acc. 85.3 %  lr 0.0800  62 steps/s
seed-0  epoch 2 of 5  loss 0.412  acc. 85.3 %  lr 0.0800  62 steps/s  validation 91.1 %
seed-0  waiting
seed-0  training on worker-1, attempt 2
seed-0  done  loss 0.412  validation 91.1 %
1 of 4 members ready · 2 evaluations open
1 of 4 members ready · 2 evaluations open · waits for a worker";
        assert_eq!(said.join("\n"), expected);
    }
}
