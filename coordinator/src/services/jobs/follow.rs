//! Streams that follow a job: its state, and its log.

use super::super::limits::{LOG_TAIL_MAX, STATUS_EVERY, UPDATES_IN_FLIGHT};
use super::super::status::{rejection_status, stopped_status};
use crate::Shared;
use crate::logs::Line;
use ensemble::cluster::{Cluster, Rejection};
use ensemble::id::JobId;
use ensemble::view::{JobView, Phase, RunView};
use proto::v1;
use std::future::Future;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// A stream that ends with its client, with the coordinator, or by itself.
fn stream<T: Send + 'static, F: Future<Output = Result<(), Status>> + Send + 'static>(
    shared: &Shared,
    produce: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F,
) -> ReceiverStream<Result<T, Status>> {
    let (updates, stream) = mpsc::channel(UPDATES_IN_FLIGHT);
    let (work, stopping) = (produce(updates.clone()), shared.stopping.clone());
    tokio::spawn(async move {
        let end = tokio::select! {
            end = work => end,
            () = stopping.cancelled() => Err(Status::unavailable("the coordinator is stopping; try again when it is back")),
            () = updates.closed() => return,
        };
        if let Err(status) = end {
            // The client may have gone just now.
            let _ = updates.try_send(Err(status));
        }
    });
    ReceiverStream::new(stream)
}

/// A job's state now and whenever it changes, until the job ends.
pub(super) async fn watch(shared: Shared, job: JobId) -> Result<ReceiverStream<Result<v1::JobStatus, Status>>, Status> {
    // The first look is taken here, so that a job that does not exist is an error and no stream.
    let mut watch = Watch { state: (shared.driver.changes(), shared.progress.changed()), shared, job };
    let mut status = watch.look().await?;
    let shared = watch.shared.clone();
    Ok(stream(&shared, |updates| async move {
        loop {
            let ended = status.0;
            if updates.send(Ok(status.1.clone())).await.is_err() || ended {
                return Ok(());
            }
            status = watch.next(&status.1).await?;
        }
    }))
}

struct Watch {
    shared: Shared,
    job: JobId,
    /// The cluster's changes, and the board's.
    state: (watch::Receiver<u64>, watch::Receiver<u64>),
}

impl Watch {
    /// The next state that differs from the last, not before its time.
    async fn next(&mut self, last: &v1::JobStatus) -> Result<(bool, v1::JobStatus), Status> {
        loop {
            tokio::time::sleep(STATUS_EVERY).await;
            tokio::select! {
                changed = self.state.0.changed() => changed.map_err(|_| stopped_status(crate::driver::Stopped))?,
                // The board outlives every stream, for they hold it.
                _ = self.state.1.changed() => (),
            }
            let status = self.look().await?;
            if status.1 != *last {
                return Ok(status);
            }
        }
    }

    /// The state now, and whether it is the last.
    async fn look(&mut self) -> Result<(bool, v1::JobStatus), Status> {
        let job = self.job.clone();
        let seen = self.shared.driver.inspect(move |cluster| see(cluster, &job)).await;
        let (job, runs, evaluations_open) = seen.map_err(stopped_status)?.map_err(rejection_status)?;
        let mut progress = self.shared.progress.of(&self.job);
        let runs = runs.into_iter().map(|run| {
            let progress = progress.remove(&run.index);
            v1::RunProgress::of(run, progress)
        });
        let runs = runs.collect();
        Ok((has_ended(&job), v1::JobStatus { job: Some(job.into()), runs, evaluations_open }))
    }
}

fn see(cluster: &Cluster, job: &JobId) -> Result<(JobView, Vec<RunView>, u32), Rejection> {
    Ok((cluster.job(job)?, cluster.runs(job)?, cluster.evaluations_open(job)?))
}

fn has_ended(job: &JobView) -> bool {
    job.phase != Phase::Running
}

/// A job's log, or what is wanted of it, and on until the job ends if so asked.
pub(super) async fn logs(
    shared: Shared,
    wanted: v1::LogsRequest,
) -> Result<ReceiverStream<Result<v1::LogLine, Status>>, Status> {
    let v1::LogsRequest { job, follow, task, tail } = wanted;
    if tail > LOG_TAIL_MAX {
        let problem =
            format!("the last {tail} lines are too many to hold back: ask for {LOG_TAIL_MAX}, or for all (0)");
        return Err(Status::invalid_argument(problem));
    }
    let reader = LogReader { shared: shared.clone(), job: JobId::new(job), follow, task, tail: tail as usize };
    reader.job_ended().await?;
    Ok(stream(&shared, |updates| reader.run(updates)))
}

struct LogReader {
    shared: Shared,
    job: JobId,
    follow: bool,
    /// The only task whose lines are wanted; empty for all.
    task: String,
    /// How many of the lines that are there are wanted; 0 for all.
    tail: usize,
}

impl LogReader {
    async fn run(self, updates: mpsc::Sender<Result<v1::LogLine, Status>>) -> Result<(), Status> {
        let (mut appended, mut changes) = (self.shared.logs.appended(), self.shared.driver.changes());
        // Lines are held back until the end has been seen: only then is it known which are the last.
        let (mut offset, mut held, mut end_seen) = (0, Vec::new(), self.tail == 0);
        loop {
            // Before reading, so that nothing written before the end is missed.
            let ended = self.job_ended().await?;
            let (lines, next) = self.read(offset).await?;
            let at_end = next == offset;
            end_seen |= at_end;
            held.extend(lines.into_iter().filter(|line| self.task.is_empty() || line.task == self.task));
            if !end_seen {
                held.drain(..held.len().saturating_sub(self.tail));
            } else if !send_all(&mut held, &updates).await || (at_end && (ended || !self.follow)) {
                return Ok(());
            } else if at_end {
                tokio::select! { _ = appended.changed() => (), _ = changes.changed() => () }
            }
            offset = next;
        }
    }

    async fn read(&self, offset: u64) -> Result<(Vec<Line>, u64), Status> {
        self.shared.logs.flush().await;
        let read = self.shared.logs.read(&self.job, offset).await;
        read.map_err(|error| Status::internal(format!("cannot read the job's log: {error}")))
    }

    async fn job_ended(&self) -> Result<bool, Status> {
        let job = self.job.clone();
        let view = self.shared.driver.inspect(move |cluster| cluster.job(&job)).await;
        Ok(has_ended(&view.map_err(stopped_status)?.map_err(rejection_status)?))
    }
}

/// Whether the client is there still.
async fn send_all(lines: &mut Vec<Line>, updates: &mpsc::Sender<Result<v1::LogLine, Status>>) -> bool {
    for line in lines.drain(..) {
        if updates.send(Ok(wire(line))).await.is_err() {
            return false;
        }
    }
    true
}

fn wire(line: Line) -> v1::LogLine {
    v1::LogLine { time_ms: line.time_ms, task: line.task, worker: line.worker, text: line.text }
}
