//! The task that owns all predictors and all predictions under way, and the handle to it.

use super::Served;
use super::flights::{FLIGHTS_MAX, Flight, Flights};
use super::hosting::{Hosting, Orders};
use crate::clock::wall_time;
use crate::sessions::Sessions;
use ensemble::id::{JobId, WorkerId};
use proto::v1::{Hosted, MemberLogits, Predict, Predicted, Tensor, to_worker::Message};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// A prediction takes no longer: a large batch through a large ensemble on a busy CPU still fits.
pub const PREDICTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How many events may wait for the gateway: answers of workers, and predictions. It never waits itself, so few do.
const EVENTS_MAX: usize = 256;

/// How long after a failed load it is ordered again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long the members of a worker whose session broke wait for its return. It knocks again every two seconds at least,
/// with the members still loaded, while another worker would have to load them.
const AWAY_MAX: Duration = Duration::from_secs(4);

/// A prediction under way whose answer goes to a service.
type Answer = oneshot::Sender<Result<Vec<MemberLogits>, PredictError>>;

/// Talks to the gateway. Clones are cheap and equal.
#[derive(Clone, Debug)]
pub struct Gateway {
    events: mpsc::Sender<Event>,
    /// Every predictor, and whether all of its members answer.
    ready: watch::Receiver<BTreeMap<JobId, bool>>,
}

#[derive(Debug)]
enum Event {
    Serve(Arc<Served>),
    Look(JobId, oneshot::Sender<Option<Arc<Served>>>),
    Joined(WorkerId),
    Lost(WorkerId),
    Left(WorkerId),
    Hosted(WorkerId, Hosted),
    Predicted(WorkerId, Predicted),
    Predict(JobId, Tensor, Answer),
}

/// Why there is no prediction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    /// Nothing of that name is served.
    #[error("job `{0}` is not served; is it done, and has its file a `serve:` section?")]
    NotServed(JobId),
    /// Fewer members than the quorum.
    #[error("{answered} of {total} members answer and at least {quorum} must; missing: {}", missing.join(", "))]
    BelowQuorum {
        /// How many answered, or could.
        answered: usize,
        /// How many there are.
        total: usize,
        /// How many must answer.
        quorum: usize,
        /// Who is missing and why.
        missing: Vec<String>,
    },
    /// Too many predictions are under way.
    #[error("{FLIGHTS_MAX} predictions are under way; try again in a moment")]
    Busy,
    /// The coordinator is ending.
    #[error("the coordinator is stopping; try again when it is back")]
    Stopped,
}

impl Gateway {
    /// Starts the gateway.
    pub fn start(sessions: Sessions) -> Self {
        let (events, queue) = mpsc::channel(EVENTS_MAX);
        let (ready, readiness) = watch::channel(BTreeMap::new());
        let task = Task {
            sessions,
            workers: BTreeSet::new(),
            away: BTreeMap::new(),
            predictors: BTreeMap::new(),
            flights: Flights::new(wall_time()),
            ready,
            retry_at: Instant::now() + RETRY_AFTER,
        };
        tokio::spawn(task.run(queue));
        Self { events, ready: readiness }
    }

    /// Serves an ensemble from now on.
    pub async fn serve(&self, served: Served) {
        self.tell(Event::Serve(Arc::new(served))).await;
    }

    /// A worker has come.
    pub async fn joined(&self, worker: WorkerId) {
        self.tell(Event::Joined(worker)).await;
    }

    /// A worker has gone.
    pub async fn left(&self, worker: WorkerId) {
        self.tell(Event::Left(worker)).await;
    }

    /// A worker's session broke: it may be back soon.
    pub async fn lost(&self, worker: WorkerId) {
        self.tell(Event::Lost(worker)).await;
    }

    /// A worker has loaded what it was told to, or failed to.
    pub async fn hosted(&self, worker: WorkerId, hosted: Hosted) {
        self.tell(Event::Hosted(worker, hosted)).await;
    }

    /// A worker has predicted.
    pub async fn predicted(&self, worker: WorkerId, predicted: Predicted) {
        self.tell(Event::Predicted(worker, predicted)).await;
    }

    /// What is served under a name.
    pub async fn served(&self, job: JobId) -> Result<Arc<Served>, PredictError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Look(job.clone(), answer)).await;
        answered.await.map_err(|_| PredictError::Stopped)?.ok_or(PredictError::NotServed(job))
    }

    /// The members' logits for a batch that has been checked: of all members, or at least of a quorum.
    pub async fn predict(&self, job: JobId, inputs: Tensor) -> Result<Vec<MemberLogits>, PredictError> {
        let (answer, answered) = oneshot::channel();
        self.events.try_send(Event::Predict(job, inputs, answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PredictError::Busy,
            mpsc::error::TrySendError::Closed(_) => PredictError::Stopped,
        })?;
        answered.await.map_err(|_| PredictError::Stopped)?
    }

    /// Every predictor, and whether all of its members answer.
    pub fn ready(&self) -> watch::Receiver<BTreeMap<JobId, bool>> {
        self.ready.clone()
    }

    async fn tell(&self, event: Event) {
        // The gateway ends with the coordinator: then nobody is served any more.
        let _ = self.events.send(event).await;
    }
}

struct Task {
    sessions: Sessions,
    workers: BTreeSet<WorkerId>,
    /// Workers whose session broke, each with the moment at which it counts as gone. They keep their members until then.
    away: BTreeMap<WorkerId, Instant>,
    predictors: BTreeMap<JobId, Hosting>,
    flights: Flights<Answer>,
    ready: watch::Sender<BTreeMap<JobId, bool>>,
    retry_at: Instant,
}

impl Task {
    /// Ends when the last handle is dropped.
    async fn run(mut self, mut queue: mpsc::Receiver<Event>) {
        loop {
            tokio::select! {
                event = queue.recv() => match event {
                    Some(event) => self.on(event),
                    None => return,
                },
                () = wait_until(self.flights.next_deadline()) => self.on_deadline(),
                () = wait_until(self.away.values().min().copied()) => self.on_given_up(),
                () = sleep_until(self.retry_at) => self.on_retry(),
            }
            self.publish();
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Serve(served) => self.on_serve(served),
            Event::Look(job, asker) => {
                drop(asker.send(self.predictors.get(&job).map(|hosting| hosting.served().clone())))
            }
            Event::Joined(worker) => self.on_joined(worker),
            Event::Lost(worker) => self.on_lost(worker),
            Event::Left(worker) => self.on_left(&worker),
            Event::Hosted(worker, hosted) => self.on_hosted(&worker, hosted),
            Event::Predicted(worker, predicted) => self.on_predicted(&worker, predicted),
            Event::Predict(job, inputs, answer) => self.on_predict(job, inputs, answer),
        }
    }

    fn on_serve(&mut self, served: Arc<Served>) {
        let job = served.job.clone();
        if !self.predictors.contains_key(&job) {
            let (hosting, orders) = Hosting::new(served, &self.workers);
            self.predictors.insert(job, hosting);
            self.send(orders);
        }
    }

    fn on_joined(&mut self, worker: WorkerId) {
        self.away.remove(&worker);
        self.workers.insert(worker.clone());
        let orders = self.predictors.values_mut().flat_map(|hosting| hosting.joined(&worker, &self.workers)).collect();
        self.send(orders);
    }

    fn on_lost(&mut self, worker: WorkerId) {
        self.flights.lost(&worker).into_iter().for_each(|flight| self.land(flight));
        self.predictors.values_mut().for_each(|hosting| hosting.lost(&worker));
        self.away.insert(worker, Instant::now() + AWAY_MAX);
    }

    fn on_given_up(&mut self) {
        let now = Instant::now();
        let gone: Vec<_> =
            self.away.iter().filter(|(_, until)| **until <= now).map(|(worker, _)| worker.clone()).collect();
        gone.iter().for_each(|worker| self.on_left(worker));
    }

    fn on_left(&mut self, worker: &WorkerId) {
        self.away.remove(worker);
        self.workers.remove(worker);
        self.flights.lost(worker).into_iter().for_each(|flight| self.land(flight));
        let orders = self.predictors.values_mut().flat_map(|hosting| hosting.left(worker, &self.workers)).collect();
        self.send(orders);
    }

    fn on_hosted(&mut self, worker: &WorkerId, hosted: Hosted) {
        if !hosted.error.is_empty() {
            tracing::warn!(%worker, predictor = hosted.predictor, error = hosted.error, "members were not loaded");
            self.retry_at = Instant::now() + RETRY_AFTER;
        }
        self.predictors.values_mut().for_each(|hosting| hosting.hosted(worker, &hosted.predictor, &hosted.error));
    }

    fn on_predicted(&mut self, worker: &WorkerId, predicted: Predicted) {
        if let Some(flight) = self.flights.landed(worker, predicted) {
            self.land(flight);
        }
    }

    fn on_predict(&mut self, job: JobId, inputs: Tensor, asker: Answer) {
        match self.start(job, inputs) {
            Ok((number, flight)) => self.flights.start(number, flight, asker),
            // Whoever asked may have gone.
            Err(error) => drop(asker.send(Err(error))),
        }
    }

    fn on_deadline(&mut self) {
        self.flights.expire(Instant::now()).into_iter().for_each(|flight| self.land(flight));
    }

    fn on_retry(&mut self) {
        self.retry_at = Instant::now() + RETRY_AFTER;
        let orders = self.predictors.values_mut().flat_map(Hosting::retry).collect();
        self.send(orders);
    }

    /// Sends a batch to every worker that holds members, if they are enough.
    fn start(&mut self, job: JobId, inputs: Tensor) -> Result<(u64, Flight), PredictError> {
        if self.flights.full() {
            return Err(PredictError::Busy);
        }
        let hosting = self.predictors.get(&job).ok_or_else(|| PredictError::NotServed(job.clone()))?;
        let request = self.flights.next_number();
        let (mut waiting, mut missing) = (BTreeMap::new(), hosting.missing());
        let able = hosting.answering().map(|(_, share)| share.members.len()).sum();
        check_quorum(hosting.served(), able, &missing)?;
        for (worker, share) in hosting.answering() {
            let predict = Predict { request, predictor: share.predictor.clone(), inputs: Some(inputs.clone()) };
            match self.sessions.send(worker, Message::Predict(predict)) {
                Ok(()) => drop(waiting.insert(worker.clone(), share.members.clone())),
                Err(error) => missing.push(format!("worker `{worker}`: {error}")),
            }
        }
        check_quorum(hosting.served(), waiting.values().map(BTreeSet::len).sum(), &missing)?;
        let deadline = Instant::now() + PREDICTION_TIMEOUT;
        Ok((request, Flight { job, waiting, logits: Vec::new(), missing, deadline }))
    }

    /// Answers a prediction whose workers have all answered or will not any more.
    fn land(&self, (flight, asker): (Flight, Answer)) {
        let Some(hosting) = self.predictors.get(&flight.job) else { return };
        let quorum = check_quorum(hosting.served(), flight.logits.len(), &flight.missing);
        // Whoever asked may have gone.
        let _ = asker.send(quorum.map(|()| flight.logits));
    }

    fn send(&self, orders: Orders) {
        for (worker, message) in orders {
            if let Err(error) = self.sessions.send(&worker, message) {
                // The worker's session is ending, and `left` will move its members.
                tracing::debug!(%worker, %error, "an order was not sent");
            }
        }
    }

    fn publish(&self) {
        let ready = self.predictors.iter().map(|(job, hosting)| (job.clone(), hosting.ready()));
        let ready: BTreeMap<_, _> = ready.collect();
        self.ready.send_if_modified(|known| {
            let changed = *known != ready;
            *known = ready;
            changed
        });
    }
}

fn check_quorum(served: &Served, answered: usize, missing: &[String]) -> Result<(), PredictError> {
    let (total, quorum) = (served.members.len(), served.quorum);
    if answered >= quorum {
        return Ok(());
    }
    Err(PredictError::BelowQuorum { answered, total, quorum, missing: missing.to_vec() })
}

/// Waits until a moment, or for ever where there is none.
fn wait_until(moment: Option<Instant>) -> impl Future<Output = ()> {
    let sleep = moment.map(sleep_until);
    async move {
        match sleep {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
    }
}
