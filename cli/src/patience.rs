//! Waiting for a coordinator that is away for a while: stopped, started again, or at its limits.

use crate::coordinator::is_transport;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

/// An upgrade, or a machine that starts anew, takes no longer.
const AWAY_MAX: Duration = Duration::from_secs(600);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tries again after growing pauses, and not for ever.
#[derive(Debug, Default)]
pub struct Patience {
    /// When the coordinator was first found to be away, and the next pause.
    away: Option<(Instant, Duration)>,
}

impl Patience {
    /// The coordinator answers. Whether it had been away.
    pub fn renew(&mut self) -> bool {
        self.away.take().is_some()
    }

    /// Whether this is the first try in a row that failed.
    pub fn is_fresh(&self) -> bool {
        self.away.is_none()
    }

    /// Waits before another try. Whether there is to be one.
    pub async fn wait(&mut self) -> bool {
        let (since, pause) = self.away.unwrap_or_else(|| (Instant::now(), PAUSE_FIRST));
        if since.elapsed() > AWAY_MAX {
            return false;
        }
        self.away = Some((since, (2 * pause).min(PAUSE_MAX)));
        sleep(pause).await;
        true
    }
}

/// Whether the same request may be answered in a while.
pub fn passes(status: &Status) -> bool {
    let codes = [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded, Code::Cancelled];
    is_transport(status) || codes.contains(&status.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_end() {
        let mut patience = Patience::default();
        assert!(patience.is_fresh() && !patience.renew());
        let (start, mut tries) = (Instant::now(), 0);
        while patience.wait().await {
            tries += 1;
        }
        assert!(start.elapsed() > AWAY_MAX && start.elapsed() <= AWAY_MAX + PAUSE_MAX);
        assert!((120..130).contains(&tries), "{tries}");
        assert!(patience.renew() && patience.is_fresh());
    }
}
