//! The gate through which artifacts move and messages leave: open for as long as it is sure whose the leases are. It shuts
//! by itself, so that not even a worker that was stopped and goes on is late to shut it.

use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A gate. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<Instant>>);

impl Gate {
    /// A gate that is shut.
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(Instant::now())))
    }

    /// Leaves the gate open until then.
    pub fn open_until(&self, end: Instant) {
        self.0.send_replace(end);
    }

    /// Whether the gate is open.
    pub fn is_open(&self) -> bool {
        Instant::now() < *self.0.borrow()
    }

    /// Waits until the gate is open.
    pub async fn opened(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|end| Instant::now() < *end).await;
    }

    /// Waits until the gate is shut.
    pub async fn closed(&self) {
        while self.is_open() {
            let end = *self.0.borrow();
            sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn it_shuts_by_itself_unless_it_is_held_open() {
        let (moment, gate) = (Duration::from_millis(10), Gate::shut());
        assert!(!gate.is_open());
        assert!(timeout(moment, gate.opened()).await.is_err());
        gate.open_until(Instant::now() + Duration::from_secs(3600));
        gate.opened().await;
        assert!(timeout(moment, gate.closed()).await.is_err());
        let end = Instant::now() + moment;
        gate.open_until(end);
        gate.closed().await;
        assert!(Instant::now() >= end && !gate.is_open());
    }
}
