//! The session with the coordinator: opened, kept alive, and opened again for as long as the worker lives.

use crate::backoff::Backoff;
use crate::crew::{Crew, Overrun};
use crate::fence::Fence;
use crate::options::Config;
use crate::outbox::Outbox;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::workers_client::WorkersClient;
use proto::v1::{Drained, FromWorker, Heartbeat, Hello, ToWorker, Welcome, WorkerSlot};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};

/// A coordinator that takes the connection greets within this time.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// After the last message, the coordinator closes its side within this time, or the worker leaves all the same.
const FAREWELL_WITHIN: Duration = Duration::from_secs(2);
/// Leases and batches of inputs may have 4 MiB and what is around them.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// A coordinator that asks for more frequent heartbeats asks for a mistake.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// The coordinator will not have this worker, now or later.
#[derive(Debug, thiserror::Error)]
#[error("the coordinator at {coordinator} refuses this worker: {message}")]
pub struct Refused {
    /// Where it listens.
    pub coordinator: String,
    /// Its reason.
    pub message: String,
}

/// Why there is no session, or none any more.
enum End {
    /// It may be tried again.
    Lost(String),
    /// It is of no use to try again.
    Refused(String),
    /// The worker was told to stop.
    Stopped,
}

impl End {
    /// Why a session could not be opened.
    fn unopened(status: &Status) -> Self {
        let for_good = [
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::Unimplemented,
        ];
        let message = status.message().to_owned();
        if for_good.contains(&status.code()) { Self::Refused(message) } else { Self::Lost(message) }
    }
}

impl From<Overrun> for End {
    fn from(overrun: Overrun) -> Self {
        Self::Lost(overrun.to_string())
    }
}

/// Keeps a session with the coordinator until `shutdown`, then drains. `joined` is called at the first welcome.
///
/// # Errors
/// When the coordinator refuses this worker for good.
pub async fn run(
    endpoint: &Endpoint,
    config: &Config,
    crew: &mut Crew,
    joined: impl FnOnce(),
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Refused> {
    let mut backoff = Backoff::default();
    let mut joined = Some(joined);
    loop {
        let end = tokio::select! {
            opened = Session::open(endpoint, config) => match opened {
                Ok(session) => {
                    backoff.reset();
                    joined.take().into_iter().for_each(|joined| joined());
                    session.keep(crew, shutdown.as_mut()).await
                }
                Err(end) => end,
            },
            () = shutdown.as_mut() => End::Stopped,
        };
        match end {
            End::Stopped => return Ok(()),
            End::Refused(message) => return Err(Refused { coordinator: config.coordinator.to_string(), message }),
            End::Lost(reason) => tracing::warn!(coordinator = %config.coordinator, reason, "no session"),
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = shutdown.as_mut() => return Ok(()),
        }
    }
}

/// An open session.
struct Session {
    inbound: Streaming<ToWorker>,
    outbox: Outbox,
    /// Heartbeats have a way of their own, so that none waits behind other messages.
    beats: mpsc::Sender<FromWorker>,
    heartbeat: Interval,
    fence: Fence,
}

impl Session {
    /// Connects, introduces the worker and waits to be welcomed.
    async fn open(endpoint: &Endpoint, config: &Config) -> Result<Self, End> {
        let late = |_| End::Lost(format!("no welcome within {} s", WELCOME_WITHIN.as_secs()));
        timeout(WELCOME_WITHIN, Self::introduce(endpoint, config)).await.map_err(late)?
    }

    async fn introduce(endpoint: &Endpoint, config: &Config) -> Result<Self, End> {
        let channel = endpoint.connect().await.map_err(|error| End::Lost(explain(&error)))?;
        let (outbox, messages) = Outbox::new();
        let (beats, due) = mpsc::channel(1);
        outbox.send(Message::Hello(hello(config))).await;
        let outgoing = ReceiverStream::new(due).merge(ReceiverStream::new(messages));
        let mut client = WorkersClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let sent = Instant::now();
        let mut inbound = client.session(outgoing).await.map_err(|status| End::unopened(&status))?.into_inner();
        let welcome = match inbound.message().await.map_err(|status| End::unopened(&status))? {
            Some(ToWorker { message: Some(Order::Welcome(welcome)) }) => welcome,
            _ => return Err(End::Lost("the coordinator did not greet".to_owned())),
        };
        let fence = Fence::new(sent, Duration::from_millis(welcome.lease_ms));
        Ok(Self { inbound, outbox, beats, heartbeat: heartbeat(&welcome), fence })
    }

    /// Keeps the session until it breaks or the worker is told to stop. Either way no task is at work afterwards.
    async fn keep(mut self, crew: &mut Crew, shutdown: Pin<&mut impl Future<Output = ()>>) -> End {
        crew.attach(&self.outbox).await;
        let Err(end) = self.serve(crew, shutdown).await;
        match end {
            End::Stopped => self.drain(crew).await,
            End::Lost(_) | End::Refused(_) => crew.detach().await,
        }
        end
    }

    async fn serve(
        &mut self,
        crew: &mut Crew,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Infallible, End> {
        loop {
            tokio::select! {
                () = shutdown.as_mut() => return Err(End::Stopped),
                () = sleep_until(self.fence.falls()) => return Err(End::Lost("no heartbeat was answered in time".to_owned())),
                now = self.heartbeat.tick() => self.beat(now),
                message = self.inbound.message() => match message {
                    Ok(Some(ToWorker { message: Some(order) })) => self.obey(order, crew)?,
                    // An order that this version does not know.
                    Ok(Some(ToWorker { message: None })) => {}
                    Ok(None) => return Err(End::Lost("the coordinator ended the session".to_owned())),
                    Err(status) => return Err(End::Lost(status.message().to_owned())),
                },
            }
        }
    }

    fn obey(&mut self, order: Order, crew: &mut Crew) -> Result<(), Overrun> {
        match order {
            Order::Welcome(_) | Order::Recorded(_) | Order::Yield(_) => {}
            Order::Renewed(_) => self.fence.renewed(),
            Order::Lease(lease) => crew.grant(lease)?,
            Order::Revoke(revoke) => crew.revoke(revoke.key.unwrap_or_default())?,
            Order::Host(host) => crew.host(host)?,
            Order::Unhost(unhost) => crew.unhost(unhost.predictor)?,
            Order::Predict(predict) => crew.predict(predict, &self.outbox),
        }
        Ok(())
    }

    /// Sends a heartbeat, unless the network has not even taken the last one.
    fn beat(&mut self, now: Instant) {
        let message = Some(Message::Heartbeat(Heartbeat {}));
        if self.beats.try_send(FromWorker { message, report: 0 }).is_ok() {
            self.fence.sent(now);
        }
    }

    /// Stops all tasks, hands the leases back, and lets the coordinator end the session.
    async fn drain(&mut self, crew: &mut Crew) {
        crew.close().await;
        self.outbox.send(Message::Drained(Drained {})).await;
        let (closed, _) = Outbox::new();
        self.outbox = closed;
        self.beats = mpsc::channel(1).0;
        let ended = async { while let Ok(Some(_)) = self.inbound.message().await {} };
        let _ = timeout(FAREWELL_WITHIN, ended).await;
    }
}

fn hello(config: &Config) -> Hello {
    let slot = |(index, device): (u32, _)| WorkerSlot { index, device: format!("{device}"), task: String::new() };
    Hello {
        worker: config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        slots: (0..).zip(&config.devices).map(slot).collect(),
        ..Hello::default()
    }
}

fn heartbeat(welcome: &Welcome) -> Interval {
    let mut heartbeat = interval(Duration::from_millis(welcome.heartbeat_ms).max(HEARTBEAT_MIN));
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

/// A transport error says little by itself; its causes say more.
fn explain(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
