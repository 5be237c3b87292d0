//! One session with the coordinator.

use crate::endpoint::Dialing;
use crate::gate::Gate;
use crate::outbox::{Outbox, SessionNumber};
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Order;
use proto::v1::workers_client::WorkersClient;
use proto::v1::{Drained, FromWorker, Heartbeat, Hello, ToWorker, Welcome};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// A coordinator that takes the connection greets within this time.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// After the last message, the coordinator closes its side within this time, or the worker leaves all the same.
const FAREWELL_WITHIN: Duration = Duration::from_secs(2);
/// Leases and batches of inputs may have 4 MiB and what is around them.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// A coordinator that asks for more frequent heartbeats asks for a mistake.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);
/// Messages between the outbox and the network. Few, for what is here already is lost with the session.
const MESSAGES_ON_THE_WAY: usize = 4;

/// Why there is no session, or none any more.
#[derive(Debug)]
pub enum End {
    /// It may be tried again.
    Lost(String),
    /// It is of no use to try again.
    Refused(String),
    /// The worker was told to stop, and has stopped.
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

/// An open session.
#[derive(Debug)]
pub struct Session {
    inbound: Streaming<ToWorker>,
    outgoing: mpsc::Sender<FromWorker>,
    /// Heartbeats have a way of their own, so that none waits behind other messages.
    beats: mpsc::Sender<FromWorker>,
    heartbeat: Interval,
    pump: Option<JoinHandle<()>>,
}

/// How the coordinator greeted.
#[derive(Debug)]
pub struct Greeting {
    /// What it said.
    pub welcome: Welcome,
    /// When the worker's first message was sent.
    pub sent: Instant,
}

/// What happens in a session.
#[derive(Debug)]
pub enum Event {
    /// A heartbeat is due.
    Beat(Instant),
    /// The coordinator says something.
    Order(Order),
    /// The session has ended.
    End(End),
}

impl Session {
    /// Connects, introduces the worker and waits to be welcomed.
    ///
    /// # Errors
    /// When there is no coordinator, or it does not greet.
    pub async fn open(dialing: Dialing, hello: Hello) -> Result<(Self, Greeting), End> {
        let late = |_| End::Lost(format!("no welcome within {} s", WELCOME_WITHIN.as_secs()));
        timeout(WELCOME_WITHIN, Self::introduce(dialing, hello)).await.map_err(late)?
    }

    async fn introduce(dialing: Dialing, hello: Hello) -> Result<(Self, Greeting), End> {
        let channel = dialing.await.map_err(|error| End::Lost(explain(&error)))?;
        let (outgoing, messages) = mpsc::channel(MESSAGES_ON_THE_WAY);
        let (beats, due) = mpsc::channel(1);
        let hello = FromWorker { report: 0, message: Some(Message::Hello(hello)) };
        outgoing.try_send(hello).expect("the channel is new");
        let stream = ReceiverStream::new(due).merge(ReceiverStream::new(messages));
        let mut client = WorkersClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let sent = Instant::now();
        let mut inbound = client.session(stream).await.map_err(|status| End::unopened(&status))?.into_inner();
        let welcome = match inbound.message().await.map_err(|status| End::unopened(&status))? {
            Some(ToWorker { message: Some(Order::Welcome(welcome)) }) => welcome,
            _ => return Err(End::Lost("the coordinator did not greet".to_owned())),
        };
        let heartbeat = heartbeat(&welcome);
        Ok((Self { inbound, outgoing, beats, heartbeat, pump: None }, Greeting { welcome, sent }))
    }

    /// Sends what is put into the outbox from now on, while the gate is open.
    pub fn send_from(&mut self, outbox: &Outbox, number: SessionNumber, gate: &Gate) {
        let (outbox, outgoing, gate) = (outbox.clone(), self.outgoing.clone(), gate.clone());
        self.pump = Some(tokio::spawn(async move {
            while let Some(message) = outbox.next(number).await {
                // When the gate is shut, the session may be about to end; the next one begins with all reports.
                tokio::select! {
                    () = gate.opened() => {}
                    () = outgoing.closed() => return,
                }
                if outgoing.send(message).await.is_err() {
                    return;
                }
            }
        }));
    }

    /// Waits for what happens next.
    pub async fn event(&mut self) -> Event {
        loop {
            tokio::select! {
                now = self.heartbeat.tick() => return Event::Beat(now),
                message = self.inbound.message() => match message {
                    Ok(Some(ToWorker { message: Some(order) })) => return Event::Order(order),
                    // An order that this version does not know.
                    Ok(Some(ToWorker { message: None })) => {}
                    Ok(None) => return Event::End(End::Lost("the coordinator ended the session".to_owned())),
                    Err(status) => return Event::End(End::Lost(status.message().to_owned())),
                },
            }
        }
    }

    /// Sends a heartbeat, unless the network has not even taken the last one. Says whether it did.
    pub fn beat(&self) -> bool {
        let message = Some(Message::Heartbeat(Heartbeat {}));
        self.beats.try_send(FromWorker { message, report: 0 }).is_ok()
    }

    /// Says goodbye after all that is still to be said, and lets the coordinator end the session.
    pub async fn take_leave(self, outbox: &Outbox, number: SessionNumber) {
        let Self { mut inbound, outgoing, beats, mut pump, .. } = self;
        outbox.remark(number, Message::Drained(Drained {})).await;
        let ended = async {
            outbox.emptied(number).await;
            outbox.close();
            if let Some(pump) = pump.take() {
                let _ = pump.await;
            }
            drop((outgoing, beats));
            while let Ok(Some(_)) = inbound.message().await {}
        };
        let _ = timeout(FAREWELL_WITHIN, ended).await;
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
