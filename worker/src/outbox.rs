//! What the worker has to say, kept for as long as it must be, whatever becomes of the session.

use proto::v1::from_worker::Message;
use proto::v1::{FromWorker, Held, LeaseKey};
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Reports that are not recorded yet. Each has 64 KiB at most, and nearly all a few hundred bytes. When there are so many,
/// uploads wait, and nothing else does.
const REPORTS_MAX: usize = 256;
/// Lines and progress of one task that wait for a session. Beyond it the oldest go.
const NOTES_MAX: usize = 1000;
/// Messages of a session that the network has not taken. Small, but for at most 32 predictions of 4 MiB.
const REMARKS_MAX: usize = 64;

/// The outbox, and the leases in whose name things are put in. Clones are the same outbox.
///
/// Three kinds of messages go through it, in one order. **Reports** (of results) are numbered, kept until the
/// coordinator has recorded them, and sent again in each new session. **Notes** (lines and progress) are kept until
/// they are sent, the newest of them. **Remarks** belong to one session and are dropped with it.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something was put in, or the session has ended.
    news: Notify,
    /// Something was taken out, or the session has ended.
    room: Notify,
    /// A lease was let go.
    losses: Notify,
}

/// Which session something is said in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionNumber(u64);

#[derive(Debug, Default)]
struct State {
    /// The newest session's number, and whether it is open.
    session: u64,
    is_open: bool,
    /// Not sent in this session yet.
    waiting: VecDeque<Item>,
    /// Reports that were sent in this session.
    sent: VecDeque<FromWorker>,
    /// The newest report's number.
    report: u64,
    held: BTreeMap<u32, LeaseKey>,
}

#[derive(Debug)]
enum Item {
    Report(FromWorker),
    Note(LeaseKey, Message),
    Remark(Message),
}

impl Outbox {
    /// Holds a lease from now on, in the place of what the slot held before.
    pub fn hold(&self, slot: u32, key: LeaseKey) {
        self.state().held.insert(slot, key);
        self.0.losses.notify_waiters();
    }

    /// Holds a lease no longer: nothing more can be put in its name.
    pub fn let_go(&self, key: &LeaseKey) {
        self.state().held.retain(|_, held| held != key);
        self.0.losses.notify_waiters();
    }

    /// Waits until a lease is held no longer.
    pub async fn lost(&self, key: &LeaseKey) {
        self.until(&self.0.losses, |state| !state.holds(key)).await;
    }

    /// The leases that are held: at work, or with a result that is not recorded yet.
    pub fn held(&self) -> Vec<Held> {
        let held = |(slot, key): (&u32, &LeaseKey)| Held { slot: *slot, key: Some(key.clone()) };
        self.state().held.iter().map(held).collect()
    }

    /// Puts a report in, in the name of a lease that is held, and waits for room if it must.
    pub async fn report(&self, key: &LeaseKey, message: Message) {
        self.until(&self.0.room, |state| {
            if !state.holds(key) {
                return true;
            }
            let has_room = state.reports() < REPORTS_MAX;
            if has_room {
                state.report += 1;
                let report = FromWorker { report: state.report, message: Some(message.clone()) };
                state.waiting.push_back(Item::Report(report));
            }
            has_room
        })
        .await;
        self.0.news.notify_waiters();
    }

    /// Puts a line or progress in, in the name of a lease that is held.
    pub fn note(&self, key: &LeaseKey, message: Message) {
        let mut state = self.state();
        if state.holds(key) {
            state.make_room_for_note(key);
            state.waiting.push_back(Item::Note(key.clone(), message));
            self.0.news.notify_waiters();
        }
    }

    /// Puts a message of a session in, and waits for room if it must. Nothing happens once that session has ended.
    pub async fn remark(&self, session: SessionNumber, message: Message) {
        self.until(&self.0.room, |state| {
            if !state.is(session) {
                return true;
            }
            let has_room = state.remarks() < REMARKS_MAX;
            if has_room {
                state.waiting.push_back(Item::Remark(message.clone()));
            }
            has_room
        })
        .await;
        self.0.news.notify_waiters();
    }

    /// Puts a message of a session in if there is room.
    pub fn remark_if_room(&self, session: SessionNumber, message: Message) {
        let mut state = self.state();
        if state.is(session) && state.remarks() < REMARKS_MAX {
            state.waiting.push_back(Item::Remark(message));
            self.0.news.notify_waiters();
        }
    }

    /// A session has begun: all reports that are not recorded will be taken out again, before anything else.
    pub fn open(&self) -> SessionNumber {
        let mut state = self.state();
        state.close();
        state.session += 1;
        state.is_open = true;
        SessionNumber(state.session)
    }

    /// The session has ended.
    pub fn close(&self) {
        self.state().close();
        self.0.news.notify_waiters();
        self.0.room.notify_waiters();
    }

    /// Takes out what is to be sent next in a session. None once it has ended.
    pub async fn next(&self, session: SessionNumber) -> Option<FromWorker> {
        loop {
            let mut news = pin!(self.0.news.notified());
            news.as_mut().enable();
            let taken = self.state().take(session)?;
            if let Some(message) = taken {
                self.0.room.notify_waiters();
                return Some(message);
            }
            news.await;
        }
    }

    /// The coordinator has recorded all reports up to this one. Leases that ended with one of them are not held any more.
    pub fn recorded(&self, report: u64) {
        self.state().recorded(report);
        self.0.room.notify_waiters();
    }

    /// Waits until every report is recorded.
    pub async fn settled(&self) {
        self.until(&self.0.room, |state| state.reports() == 0).await;
    }

    /// Waits until everything has been taken out, or the session has ended.
    pub async fn emptied(&self, session: SessionNumber) {
        self.until(&self.0.room, |state| state.waiting.is_empty() || !state.is(session)).await;
    }

    /// Looks at the state, now and whenever `change` is told of, until `look` is satisfied.
    async fn until(&self, change: &Notify, mut look: impl FnMut(&mut State) -> bool) {
        loop {
            let mut changed = pin!(change.notified());
            changed.as_mut().enable();
            if look(&mut self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// A panic elsewhere leaves every field whole: each change is one insert or one remove.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is(&self, session: SessionNumber) -> bool {
        self.is_open && self.session == session.0
    }

    fn holds(&self, key: &LeaseKey) -> bool {
        self.held.values().any(|held| held == key)
    }

    fn reports(&self) -> usize {
        self.sent.len() + self.waiting.iter().filter(|item| matches!(item, Item::Report(_))).count()
    }

    fn remarks(&self) -> usize {
        self.waiting.iter().filter(|item| matches!(item, Item::Remark(_))).count()
    }

    fn make_room_for_note(&mut self, key: &LeaseKey) {
        let is_note = |item: &Item| matches!(item, Item::Note(of, _) if of == key);
        if self.waiting.iter().filter(|item| is_note(item)).count() >= NOTES_MAX
            && let Some(oldest) = self.waiting.iter().position(is_note)
        {
            self.waiting.remove(oldest);
        }
    }

    fn close(&mut self) {
        self.is_open = false;
        self.waiting.retain(|item| !matches!(item, Item::Remark(_)));
        while let Some(report) = self.sent.pop_back() {
            self.waiting.push_front(Item::Report(report));
        }
    }

    /// None: the session has ended. Some(None): there is nothing to send.
    fn take(&mut self, session: SessionNumber) -> Option<Option<FromWorker>> {
        if !self.is(session) {
            return None;
        }
        let unnumbered = |message| FromWorker { report: 0, message: Some(message) };
        Some(self.waiting.pop_front().map(|item| match item {
            Item::Note(_, message) | Item::Remark(message) => unnumbered(message),
            Item::Report(report) => {
                self.sent.push_back(report.clone());
                report
            }
        }))
    }

    fn recorded(&mut self, last: u64) {
        let is_recorded = |report: &FromWorker| report.report <= last;
        let waiting = self.waiting.iter().filter_map(|item| match item {
            Item::Report(report) => Some(report),
            _ => None,
        });
        let ended: Vec<LeaseKey> =
            self.sent.iter().chain(waiting).filter(|report| is_recorded(report)).filter_map(ended).collect();
        self.held.retain(|_, held| !ended.contains(held));
        self.sent.retain(|report| !is_recorded(report));
        self.waiting.retain(|item| !matches!(item, Item::Report(report) if is_recorded(report)));
    }
}

/// The lease that ends with a report.
fn ended(report: &FromWorker) -> Option<LeaseKey> {
    match report.message.as_ref()? {
        Message::Finished(finished) => finished.key.clone(),
        Message::Failed(failed) => failed.key.clone(),
        Message::Yielded(yielded) => yielded.key.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proto::v1::{ModelStored, Ready, TaskFinished, TaskLog};
    use std::time::Duration;
    use tokio::time::timeout;

    fn key(task: &str) -> LeaseKey {
        LeaseKey { task: task.to_owned(), attempt: 1 }
    }

    fn model(run: u32) -> Message {
        Message::Model(ModelStored { key: Some(key("t")), run, ..ModelStored::default() })
    }

    fn finished() -> Message {
        Message::Finished(TaskFinished { key: Some(key("t")), artifact: None })
    }

    fn line(text: usize) -> Message {
        Message::Log(TaskLog { key: Some(key("t")), text: text.to_string() })
    }

    /// Everything that would be sent now, reports by their number and their run, in words.
    async fn taken(outbox: &Outbox, session: SessionNumber) -> Vec<String> {
        let mut words = Vec::new();
        while !outbox.state().waiting.is_empty() {
            let FromWorker { report, message } = outbox.next(session).await.unwrap();
            words.push(match message.unwrap() {
                Message::Model(model) => format!("{report}: model {}", model.run),
                Message::Finished(_) => format!("{report}: finished"),
                Message::Log(line) => format!("{report}: {}", line.text),
                _ => format!("{report}: ready"),
            });
        }
        words
    }

    #[tokio::test]
    async fn reports_are_sent_again_in_order_until_recorded_and_remarks_are_not() {
        let outbox = Outbox::default();
        outbox.hold(0, key("t"));
        let first = outbox.open();
        outbox.report(&key("t"), model(7)).await;
        outbox.note(&key("t"), line(1));
        outbox.report(&key("t"), finished()).await;
        outbox.remark(first, Message::Ready(Ready { slot: 0 })).await;
        assert_eq!(taken(&outbox, first).await, ["1: model 7", "0: 1", "2: finished", "0: ready"]);

        let second = outbox.open();
        outbox.remark(first, Message::Ready(Ready { slot: 0 })).await;
        assert_eq!(outbox.next(first).await, None, "that session has ended");
        assert_eq!(taken(&outbox, second).await, ["1: model 7", "2: finished"]);
        outbox.recorded(1);
        assert_eq!(outbox.held().len(), 1, "the last report is not recorded");

        let third = outbox.open();
        assert_eq!(taken(&outbox, third).await, ["2: finished"]);
        outbox.recorded(2);
        assert_eq!(outbox.held(), []);
        outbox.settled().await;
        outbox.report(&key("t"), model(8)).await;
        let fourth = outbox.open();
        assert_eq!(taken(&outbox, fourth).await, Vec::<String>::new(), "nothing is said under a lease that has ended");
    }

    #[tokio::test]
    async fn a_full_outbox_makes_reports_wait_and_the_oldest_notes_go() {
        let outbox = Outbox::default();
        outbox.hold(0, key("t"));
        (0..NOTES_MAX + 5).for_each(|text| outbox.note(&key("t"), line(text)));
        for _ in 0..REPORTS_MAX {
            outbox.report(&key("t"), model(0)).await;
        }
        let task = key("t");
        let mut late = pin!(outbox.report(&task, model(9)));
        assert!(timeout(Duration::from_millis(10), late.as_mut()).await.is_err());
        let session = outbox.open();
        let sent = taken(&outbox, session).await;
        assert_eq!((sent.len(), sent[0].as_str()), (NOTES_MAX + REPORTS_MAX, "0: 5"));
        assert!(timeout(Duration::from_millis(10), late.as_mut()).await.is_err(), "sent is not recorded");
        outbox.recorded(1);
        late.await;
        assert_eq!(taken(&outbox, session).await, [format!("{}: model 9", REPORTS_MAX + 1)]);
    }
}
