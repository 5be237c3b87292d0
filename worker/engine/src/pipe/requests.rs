//! The thread that reads requests.

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use proto::v1::EngineRequest;
use proto::v1::engine_request::Request;

use super::frame;

/// Requests read and not yet worked on. The worker sends one task at a time, or a few predictions.
const WAITING_MAX: usize = 64;

/// How a process ends whose input makes no sense.
const BROKEN_INPUT: i32 = 3;

/// A request and how many tasks have come with it and before it.
#[derive(Debug)]
pub struct Numbered {
    /// The request.
    pub request: Request,
    /// The number of the newest task.
    pub task: u64,
}

/// Which tasks were told to stop: all up to a number. A stop that comes while a task still waits its turn counts for
/// it, and one that comes late counts for no later task.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicU64>);

impl StopFlag {
    /// Whether task `number`, from 1, was told to stop.
    pub fn covers(&self, number: u64) -> bool {
        self.0.load(Ordering::Relaxed) >= number
    }

    fn stop_through(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// Requests in the order in which they came.
#[derive(Debug)]
pub struct Requests(Receiver<Numbered>);

impl Requests {
    /// Reads standard input on a thread of its own until it ends, and then ends the process: the worker is gone, and
    /// whatever is at work is for nobody.
    pub fn read_on_a_thread(stop: StopFlag) -> Self {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        thread::spawn(move || std::process::exit(read_all(&sender, &stop)));
        Self(receiver)
    }

    /// The next request; none when the reader is gone.
    pub fn next(&self) -> Option<Numbered> {
        self.0.recv().ok()
    }
}

/// Returns the process's exit status.
fn read_all(sender: &SyncSender<Numbered>, stop: &StopFlag) -> i32 {
    let mut input = BufReader::new(std::io::stdin());
    let mut task = 0;
    loop {
        match frame::read(&mut input) {
            Ok(Some(EngineRequest { request: Some(Request::Stop(_)) })) => stop.stop_through(task),
            Ok(Some(EngineRequest { request: Some(request) })) => {
                task += u64::from(is_task(&request));
                if sender.send(Numbered { request, task }).is_err() {
                    return 0;
                }
            }
            Ok(Some(EngineRequest { request: None })) => {
                eprintln!("a request of a kind that this engine does not know")
            }
            Ok(None) => return 0,
            Err(error) => {
                eprintln!("standard input: {error}");
                return BROKEN_INPUT;
            }
        }
    }
}

fn is_task(request: &Request) -> bool {
    matches!(request, Request::Train(_) | Request::Calibrate(_) | Request::Evaluate(_))
}
