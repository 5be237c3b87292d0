//! What the driver does while its journal cannot be written: it keeps what it has, says so, and tries again.

use crate::journal::JournalError;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The first pause, and the longest. Each is twice the one before: a lost connection is made again at once, and a full
/// disk that has room again is noticed soon.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// An attempt that takes so long and fails is told of at once.
const LONG: Duration = Duration::from_secs(1);

/// How soon a pause ends when nobody wants to wait any more.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether the journal can be written: none, or what it waits for, in words for people.
pub type Stall = Option<Arc<str>>;

/// Repeats what fails for a passing reason.
#[derive(Debug)]
pub(super) struct Patience {
    stall: watch::Sender<Stall>,
    give_up: CancellationToken,
}

impl Patience {
    /// Tells of stalls through `stall`, and ends once nobody wants to wait any more.
    pub fn new(stall: watch::Sender<Stall>, give_up: CancellationToken) -> Self {
        Self { stall, give_up }
    }

    /// Attempts until it succeeds. Fails with an error that does not pass, or with the last one when given up.
    pub fn insist<T>(&self, mut attempt: impl FnMut() -> Result<T, JournalError>) -> Result<T, JournalError> {
        let mut pause = PAUSES.0;
        loop {
            let begun = Instant::now();
            let error = match attempt() {
                Ok(done) => {
                    self.tell_over();
                    return Ok(done);
                }
                Err(error) => error,
            };
            if !error.is_passing() || self.give_up.is_cancelled() {
                return Err(error);
            }
            // The first failure may be of a connection that was lost meanwhile: nothing that users need to know.
            if pause > PAUSES.0 || begun.elapsed() > LONG {
                self.tell(&error);
            }
            self.wait(pause);
            pause = PAUSES.1.min(2 * pause);
        }
    }

    fn wait(&self, pause: Duration) {
        let glances = pause.as_millis().div_ceil(GLANCE.as_millis());
        (0..glances).take_while(|_| !self.give_up.is_cancelled()).for_each(|_| thread::sleep(GLANCE));
    }

    fn tell(&self, error: &JournalError) {
        let text: Arc<str> = format!("waiting for the journal: {error}").into();
        let news = |stall: &mut Stall| {
            let new = stall.as_ref() != Some(&text);
            if new {
                tracing::error!(%error, "waiting for the journal; nothing is answered or granted meanwhile");
                *stall = Some(text.clone());
            }
            new
        };
        self.stall.send_if_modified(news);
    }

    fn tell_over(&self) {
        let over = |stall: &mut Stall| stall.take().is_some();
        if self.stall.send_if_modified(over) {
            tracing::info!("the journal is written again");
        }
    }
}
