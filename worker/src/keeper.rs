//! Keeps the worker in contact with the coordinator: a session is opened, and opened again for as long as the worker
//! lives. What the worker does goes on meanwhile.

use crate::backoff::Backoff;
use crate::crew::{Crew, Overrun};
use crate::endpoint::{Dial, endpoint};
use crate::fence::{Due, Fence};
use crate::gate::Gate;
use crate::options::Config;
use crate::outbox::{Outbox, SessionNumber};
use crate::session::{End, Event, Greeting, Session};
use proto::v1::to_worker::Message as Order;
use proto::v1::{Hello, Welcome, WorkerSlot};
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::transport::Uri;

/// The coordinator will not have this worker, now or later.
#[derive(Debug, thiserror::Error)]
#[error("the coordinator at {coordinator} refuses this worker: {message}")]
pub struct Refused {
    /// Where it listens.
    pub coordinator: String,
    /// Its reason.
    pub message: String,
}

/// What the worker is made of, as far as the keeper has to do with it.
pub struct Parts<C> {
    /// Who works.
    pub crew: C,
    /// What is said.
    pub outbox: Outbox,
    /// What lets it, and artifacts, out.
    pub gate: Gate,
    /// How the coordinator is reached.
    pub dial: Dial,
}

/// Keeps in contact with the coordinator until `shutdown`, then drains. `joined` is called at the first welcome.
///
/// # Errors
/// When the coordinator refuses this worker for good.
pub async fn keep<C: Crew>(
    config: &Config,
    parts: Parts<C>,
    joined: impl FnOnce(),
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Refused> {
    let keeper = Keeper {
        config,
        parts,
        process: fastrand::u64(1..),
        place: 0,
        refusals: 0,
        fence: Fence::new(Instant::now(), config.away_limit),
        backoff: Backoff::brisk(),
        joined: Some(joined),
        shutdown,
        draining: None,
    };
    keeper.run().await
}

struct Keeper<'a, C, J, S> {
    config: &'a Config,
    parts: Parts<C>,
    /// Tells this process from another of the same name.
    process: u64,
    /// Which of the addresses is tried.
    place: usize,
    /// How many of the addresses have refused the worker, one after the other.
    refusals: usize,
    fence: Fence,
    backoff: Backoff,
    joined: Option<J>,
    shutdown: Pin<&'a mut S>,
    /// Ends when the worker has stopped, if it was told to.
    draining: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What happens beside any session.
enum Aside {
    Due(Due),
    Shutdown,
    Drained,
}

/// The worker has stopped.
struct Stopped;

impl<C: Crew, J: FnOnce(), S: Future<Output = ()>> Keeper<'_, C, J, S> {
    async fn run(mut self) -> Result<(), Refused> {
        loop {
            let address = self.address().clone();
            match self.one_session(&address).await {
                End::Stopped => return Ok(()),
                End::Refused(message) => self.note_refusal(&address, message)?,
                End::Lost(reason) => {
                    self.refusals = 0;
                    tracing::warn!(coordinator = %address, reason, "no session");
                }
            }
            self.place += 1;
            let pause = self.backoff.next();
            if let Err(Stopped) = self.meanwhile(sleep(pause)).await {
                return Ok(());
            }
        }
    }

    /// With several addresses, the worker goes only when all of them refuse it: one may belong to a stand-by. And not
    /// before it has given its tasks up: whoever installed a coordinator that does not take it may think better of it.
    fn note_refusal(&mut self, address: &Uri, message: String) -> Result<(), Refused> {
        self.refusals += 1;
        let is_at_work = !self.parts.outbox.held().is_empty();
        if is_at_work || self.refusals < self.config.coordinators.len() {
            tracing::warn!(coordinator = %address, reason = message, is_at_work, "refused");
            return Ok(());
        }
        Err(Refused { coordinator: address.to_string(), message })
    }

    fn address(&self) -> &Uri {
        &self.config.coordinators[self.place % self.config.coordinators.len()]
    }

    /// Opens a session and keeps it, until it ends.
    async fn one_session(&mut self, address: &Uri) -> End {
        let opening = Session::open((self.parts.dial)(endpoint(address)), self.hello());
        let (session, greeting) = match self.meanwhile(opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(end)) => return end,
            Err(Stopped) => return End::Stopped,
        };
        let number = match self.begin(greeting) {
            Ok(number) => number,
            Err(end) => return end,
        };
        let end = self.keep(session, number, address).await;
        self.parts.outbox.close();
        end
    }

    fn hello(&self) -> Hello {
        let slot = |(index, device): (u32, _)| WorkerSlot { index, device: format!("{device}"), task: String::new() };
        Hello {
            worker: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: (0..).zip(&self.config.devices).map(slot).collect(),
            held: self.parts.outbox.held(),
            process: self.process,
        }
    }

    /// Stops what the coordinator has not kept, and only then lets results out again. What was let go while the welcome
    /// was on its way would stay leased to a worker that is not at it: the next session says so.
    fn begin(&mut self, Greeting { welcome, sent }: Greeting) -> Result<SessionNumber, End> {
        let Welcome { lease_ms, kept, .. } = welcome;
        self.refusals = 0;
        let held: Vec<_> = self.parts.outbox.held().into_iter().filter_map(|held| held.key).collect();
        if kept.iter().any(|kept| !held.contains(kept)) {
            return Err(End::Lost("a task was given up while the coordinator let it go on".to_owned()));
        }
        for key in held.into_iter().filter(|key| !kept.contains(key)) {
            tracing::warn!(task = key.task, attempt = key.attempt, "the lease was not kept");
            self.parts.crew.revoke(&key);
        }
        self.fence.raise(sent, Duration::from_millis(lease_ms));
        self.parts.gate.open_until(self.fence.falls());
        let number = self.parts.outbox.open();
        self.joined.take().into_iter().for_each(|joined| joined());
        Ok(number)
    }

    async fn keep(&mut self, mut session: Session, number: SessionNumber, address: &Uri) -> End {
        session.send_from(&self.parts.outbox, number, &self.parts.gate);
        if let Err(overrun) = self.parts.crew.attach(number, address) {
            return End::Lost(overrun.to_string());
        }
        loop {
            let step = tokio::select! {
                aside = self.aside() => self.react(aside),
                event = session.event() => match event {
                    Event::Beat(now) => {
                        if session.beat() {
                            self.fence.sent(now);
                        }
                        Ok(())
                    }
                    Event::Order(order) => match self.obey(order, number) {
                        Ok(()) => Ok(()),
                        Err(overrun) => return End::Lost(overrun.to_string()),
                    },
                    Event::End(end) => return end,
                },
            };
            if let Err(Stopped) = step {
                session.take_leave(&self.parts.outbox, number).await;
                return End::Stopped;
            }
            if !self.fence.stands() {
                return End::Lost("no heartbeat was answered in time".to_owned());
            }
        }
    }

    fn obey(&mut self, order: Order, number: SessionNumber) -> Result<(), Overrun> {
        let Parts { crew, outbox, gate, .. } = &mut self.parts;
        match order {
            Order::Welcome(_) => {}
            Order::Renewed(_) => {
                self.fence.renewed();
                gate.open_until(self.fence.falls());
                self.backoff.reset();
            }
            Order::Recorded(recorded) => outbox.recorded(recorded.report),
            Order::Lease(lease) => crew.grant(lease)?,
            Order::Revoke(revoke) => crew.revoke(&revoke.key.unwrap_or_default()),
            Order::Yield(asked) => crew.ask_back(&asked.key.unwrap_or_default())?,
            Order::Host(host) => crew.host(host)?,
            Order::Unhost(unhost) => crew.unhost(unhost.predictor)?,
            Order::Predict(predict) => crew.predict(predict, number),
        }
        Ok(())
    }

    /// Waits for something while there is no session.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                done = future.as_mut() => return Ok(done),
                aside = self.aside() => self.react(aside)?,
            }
        }
    }

    /// Waits for what happens beside any session.
    async fn aside(&mut self) -> Aside {
        tokio::select! {
            due = self.fence.due() => Aside::Due(due),
            () = self.shutdown.as_mut(), if self.draining.is_none() => Aside::Shutdown,
            () = ended(&mut self.draining) => Aside::Drained,
        }
    }

    fn react(&mut self, aside: Aside) -> Result<(), Stopped> {
        match aside {
            Aside::Due(due) => self.lose_touch(due),
            Aside::Shutdown => {
                tracing::info!("draining");
                self.draining = Some(Box::pin(self.parts.crew.drain(self.config.drain)));
            }
            Aside::Drained => return Err(Stopped),
        }
        Ok(())
    }

    fn lose_touch(&mut self, due: Due) {
        self.fence.done(due);
        match due {
            Due::Silence => {
                tracing::warn!("no contact for most of a lease: tasks go on, and nothing is stored or reported");
                self.parts.outbox.close();
            }
            Due::GivingUp => {
                tracing::warn!(
                    limit_s = self.config.away_limit.as_secs(),
                    "no contact for too long: tasks are stopped"
                );
                for held in self.parts.outbox.held() {
                    self.parts.crew.revoke(&held.key.unwrap_or_default());
                }
            }
        }
    }
}

/// The end of the draining. Never comes while there is none.
async fn ended(draining: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match draining {
        Some(draining) => draining.await,
        None => std::future::pending().await,
    }
}
