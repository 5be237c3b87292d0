//! Trying until it works.

use super::error::{Remedy, TransferError};
use crate::backoff::Backoff;
use crate::gate::Gate;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Bytes that arrive damaged so many times were damaged before they were sent.
const DAMAGES_MAX: u32 = 3;
/// A transfer that takes longer is spoken of.
const SLOW_AFTER: Duration = Duration::from_secs(60);
/// How long a transfer is tried that belongs to no lease.
const A_WHILE: Duration = Duration::from_secs(120);

/// Whoever is told why there is a wait.
pub trait Narrator: Sync {
    /// Takes a line.
    fn tell(&self, line: String);
}

/// How long a transfer is tried, and who hears of the waiting.
#[derive(Clone, Copy)]
pub struct Persistence<'a> {
    narrator: &'a dyn Narrator,
    /// Whether it is a lease's, and goes on only while the gate is open.
    is_of_a_lease: bool,
    deadline: Option<Instant>,
}

/// Tells nobody.
struct Silence;

impl Narrator for Silence {
    fn tell(&self, line: String) {
        tracing::debug!(line, "transfer");
    }
}

impl<'a> Persistence<'a> {
    /// For as long as the lease is held; waiting for as long as it is not sure whether it is.
    pub fn of_a_lease(narrator: &'a dyn Narrator) -> Self {
        Self { narrator, is_of_a_lease: true, deadline: None }
    }

    /// For two minutes, whatever becomes of leases.
    pub fn for_a_while() -> Self {
        Self { narrator: &Silence, is_of_a_lease: false, deadline: Some(Instant::now() + A_WHILE) }
    }

    /// Tries until it works, it cannot work, or it was tried for long enough. `make_room` is called when the cache's disk is
    /// full.
    pub(super) async fn persist<T, F, R>(
        &self,
        gate: &Gate,
        attempt: impl Fn() -> F,
        make_room: impl Fn() -> R,
    ) -> Result<T, TransferError>
    where
        F: Future<Output = Result<T, TransferError>>,
        R: Future<Output = ()>,
    {
        let (mut backoff, mut damages, mut is_waiting) = (Backoff::brisk(), 0, false);
        loop {
            let Some(end) = self.try_once(gate, attempt()).await else { continue };
            let Err(error) = end else {
                if is_waiting {
                    self.narrator.tell("the transfer went through, and the task goes on".to_owned());
                }
                return end;
            };
            match error.remedy() {
                Remedy::Wait if !self.is_over() => {
                    if !std::mem::replace(&mut is_waiting, true) {
                        self.narrator.tell(format!("waiting, and trying again: {error}"));
                    }
                    sleep(backoff.next()).await;
                }
                remedy @ (Remedy::Repeat | Remedy::MakeRoom) if damages + 1 < DAMAGES_MAX => {
                    damages += 1;
                    if remedy == Remedy::MakeRoom {
                        make_room().await;
                    }
                }
                _ => return Err(error),
            }
        }
    }

    /// One attempt; none if the gate shut meanwhile, which ends it.
    async fn try_once<T>(&self, gate: &Gate, attempt: impl Future<Output = T>) -> Option<T> {
        if !self.is_of_a_lease {
            return Some(attempt.await);
        }
        gate.opened().await;
        let mut attempt = pin!(attempt);
        let mut is_slow = false;
        loop {
            tokio::select! {
                end = attempt.as_mut() => return Some(end),
                () = gate.closed() => return None,
                () = sleep(SLOW_AFTER), if !is_slow => {
                    is_slow = true;
                    let seconds = SLOW_AFTER.as_secs();
                    self.narrator.tell(format!("waiting for a transfer that has not come through within {seconds} s"));
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
