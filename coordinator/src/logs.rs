//! The jobs' logs: one file per job, a line of JSON for each line of text.

use ensemble::cluster::Millis;
use ensemble::id::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot, watch};

/// How many lines may wait for the disk. What does not fit is lost: a log must never hold up a worker's heartbeat.
const LINES_WAITING_MAX: usize = 4096;

/// A job's log takes no more than this: enough for months of epochs.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The last line of a log that has grown to its bound.
const LOG_FULL: &str = "this log is full; later lines are not kept";

/// A line is cut here.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// How much of a log is read at once.
const READ_BYTES_MAX: u64 = 256 << 10;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When the coordinator got it.
    pub time_ms: Millis,
    /// The task that wrote it.
    pub task: String,
    /// The worker that the task ran on.
    pub worker: String,
    /// The text.
    pub text: String,
}

/// All logs. Clones are the same logs. Writing is the business of one thread.
#[derive(Clone, Debug)]
pub struct Logs {
    folder: PathBuf,
    writer: mpsc::Sender<Order>,
    appended: watch::Receiver<u64>,
}

#[derive(Debug)]
enum Order {
    Append(JobId, Line),
    Flush(oneshot::Sender<()>),
}

impl Logs {
    /// Keeps logs in a folder.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        let (writer, orders) = mpsc::channel(LINES_WAITING_MAX);
        let (count, appended) = watch::channel(0);
        let thread = Writer { folder: folder.clone(), sizes: BTreeMap::new(), count };
        std::thread::Builder::new().name("logs".into()).spawn(move || thread.run(orders))?;
        Ok(Self { folder, writer, appended })
    }

    /// Appends a line, unless too many are waiting.
    pub fn append(&self, job: JobId, mut line: Line) {
        line.text.truncate(line.text.floor_char_boundary(TEXT_BYTES_MAX));
        if self.writer.try_send(Order::Append(job, line)).is_err() {
            tracing::debug!("a log line was lost: the disk does not keep up");
        }
    }

    /// Waits until every line appended before can be read.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.writer.send(Order::Flush(done)).await.is_ok() {
            // The thread has ended if this fails, and with it the writing.
            let _ = wait.await;
        }
    }

    /// Changes whenever lines are written.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.appended.clone()
    }

    /// The next whole lines from an offset on, and the offset after them: the same offset at the end.
    pub async fn read(&self, job: &JobId, offset: u64) -> io::Result<(Vec<Line>, u64)> {
        let path = path(&self.folder, job);
        tokio::task::spawn_blocking(move || read_lines(&path, offset)).await.map_err(io::Error::other)?
    }
}

struct Writer {
    folder: PathBuf,
    /// The size of each log written to since the start.
    sizes: BTreeMap<JobId, u64>,
    count: watch::Sender<u64>,
}

impl Writer {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.blocking_recv() {
            match order {
                Order::Append(job, line) => self.append(&job, &line),
                // Whoever waited may have gone.
                Order::Flush(done) => drop(done.send(())),
            }
        }
    }

    fn append(&mut self, job: &JobId, line: &Line) {
        match self.write(job, line) {
            Ok(()) => self.count.send_modify(|count| *count += 1),
            Err(error) => tracing::warn!(%job, %error, "cannot write to the job's log"),
        }
    }

    fn write(&mut self, job: &JobId, line: &Line) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(path(&self.folder, job))?;
        let known = self.sizes.get(job).copied();
        let size = known.map_or_else(|| file.metadata().map(|metadata| metadata.len()), Ok)?;
        if size > LOG_BYTES_MAX {
            return Ok(());
        }
        let mut bytes = encode(line)?;
        if size + bytes.len() as u64 > LOG_BYTES_MAX {
            // One line over the bound, so that the log itself says why it ends, and that no other follows.
            bytes = encode(&Line { text: LOG_FULL.into(), ..line.clone() })?;
            bytes.resize(bytes.len().max((LOG_BYTES_MAX + 1 - size) as usize), b'\n');
        }
        file.write_all(&bytes)?;
        self.sizes.insert(job.clone(), size + bytes.len() as u64);
        Ok(())
    }
}

fn encode(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Job identifiers are lower-case letters, digits and dashes, so each is a file name.
fn path(folder: &Path, job: &JobId) -> PathBuf {
    folder.join(format!("{job}.jsonl"))
}

fn read_lines(path: &Path, offset: u64) -> io::Result<(Vec<Line>, u64)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), offset)),
        opened => opened?,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut file = BufReader::new(file.take(READ_BYTES_MAX));
    let (mut lines, mut next, mut line) = (Vec::new(), offset, Vec::new());
    // The last line may be half written, or half inside of what is read at once: it comes with the next read.
    while file.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        next += line.len() as u64;
        // What a crash has cut short is no line.
        lines.extend(serde_json::from_slice::<Line>(&line));
        line.clear();
    }
    Ok((lines, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(text: &str) -> Line {
        Line { time_ms: 1, task: "shapes-1/train/0".into(), worker: "w".into(), text: text.into() }
    }

    #[tokio::test]
    async fn lines_are_read_back_from_any_offset() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::open(folder.path().to_owned()).unwrap();
        let job = JobId::new("shapes-1");
        assert_eq!(logs.read(&job, 0).await.unwrap(), (Vec::new(), 0));
        ["one", "two\nlines"].iter().for_each(|text| logs.append(job.clone(), line(text)));
        logs.flush().await;
        let (lines, end) = logs.read(&job, 0).await.unwrap();
        assert_eq!(lines, [line("one"), line("two\nlines")]);
        logs.append(job.clone(), line(&"é".repeat(TEXT_BYTES_MAX)));
        logs.flush().await;
        let (lines, after) = logs.read(&job, end).await.unwrap();
        assert_eq!(lines, [line(&"é".repeat(TEXT_BYTES_MAX / 2))], "cut between characters");
        assert_eq!(logs.read(&job, after).await.unwrap(), (Vec::new(), after));
    }
}
