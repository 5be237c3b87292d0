//! The first message of a session: who it is, what it still works on, and whether it may stay.

use crate::VERSION;
use ensemble::cluster::{LeaseKey, SLOTS_MAX, Slot};
use ensemble::id::WorkerId;
use proto::convert::required;
use proto::v1::{FromWorker, Held, Hello, from_worker::Message};
use std::time::Duration;
use tonic::{Status, Streaming};

/// A worker says hello at once. Who does not is no worker.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker that may join.
#[derive(Debug, PartialEq)]
pub(super) struct Greeting {
    pub worker: WorkerId,
    /// Drawn by the worker's process; 0 if it does not say.
    pub process: u64,
    pub slots: Vec<Slot>,
}

pub(super) async fn receive(inbound: &mut Streaming<FromWorker>) -> Result<Greeting, Status> {
    let late = |_| Status::deadline_exceeded("a session starts with `hello`, and none came");
    let first = tokio::time::timeout(HELLO_TIMEOUT, inbound.message()).await.map_err(late)??;
    match first.and_then(|first| first.message) {
        Some(Message::Hello(hello)) => check(hello),
        _ => Err(Status::invalid_argument("the first message of a session is `hello`")),
    }
}

fn check(hello: Hello) -> Result<Greeting, Status> {
    if release(&hello.version) != release(VERSION) {
        let problem = format!("the worker has version {}, the coordinator {VERSION}", hello.version);
        return Err(Status::failed_precondition(format!("{problem}; install the same version of Tutti on both")));
    }
    let printable = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    if hello.worker.is_empty() || !printable(&hello.worker) {
        let problem = "a worker's name is printable ASCII without spaces; give it one (TUTTI_WORKER_NAME)";
        return Err(Status::invalid_argument(problem));
    }
    if hello.slots.len() > SLOTS_MAX {
        let problem = format!("a worker has at most {SLOTS_MAX} slots, and this one names {}", hello.slots.len());
        return Err(Status::invalid_argument(problem));
    }
    let mut slots = hello.slots.into_iter().map(Slot::from).collect::<Vec<_>>();
    hello.held.into_iter().try_for_each(|held| hold(&mut slots, held))?;
    Ok(Greeting { worker: WorkerId::new(hello.worker), process: hello.process, slots })
}

/// A version without its patch. Patches change neither what is said nor a bit of what is trained, so that a coordinator is
/// upgraded while workers go on.
fn release(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(release, _)| release)
}

/// Notes what a slot still works on: one lease at most.
fn hold(slots: &mut [Slot], Held { slot, key }: Held) -> Result<(), Status> {
    let lease: LeaseKey = required("held.key", key)?;
    let place = slots.iter_mut().find(|known| known.index == slot && known.holds.is_none());
    let wrong = || Status::invalid_argument(format!("slot {slot} is said to hold a second lease, or does not exist"));
    place.ok_or_else(wrong)?.holds = Some(lease);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proto::v1::{self, WorkerSlot};
    use tonic::Code;

    fn hello(worker: &str, version: &str) -> Hello {
        Hello { worker: worker.into(), version: version.into(), ..Hello::default() }
    }

    #[test]
    fn another_version_is_told_both_and_the_remedy() {
        let status = check(hello("w", "0.0.1")).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        for word in ["0.0.1", VERSION, "install the same version"] {
            assert!(status.message().contains(word), "{status}");
        }
    }

    #[test]
    fn a_patch_is_no_other_version() {
        let patched = format!("{}.4711", release(VERSION));
        assert!(check(hello("w", &patched)).is_ok());
    }

    #[test]
    fn a_name_must_be_fit_to_print() {
        assert!(check(hello("host-1.rack_2", VERSION)).is_ok());
        for name in ["", "two words", "línea", "a\n"] {
            assert_eq!(check(hello(name, VERSION)).unwrap_err().code(), Code::InvalidArgument, "{name:?}");
        }
    }

    #[test]
    fn a_slot_holds_one_lease_and_must_exist() {
        let key = || Some(v1::LeaseKey { task: "shapes-1/train/0".into(), attempt: 3 });
        let slots = (0..2).map(|index| WorkerSlot { index, ..WorkerSlot::default() }).collect();
        let holding = |held: Vec<Held>| Hello { held, slots: Vec::clone(&slots), ..hello("w", VERSION) };
        let greeting = check(holding(vec![Held { slot: 1, key: key() }])).unwrap();
        assert_eq!(greeting.slots[0].holds, None);
        assert_eq!(greeting.slots[1].holds.as_ref().unwrap().attempt, 3);
        let twice = vec![Held { slot: 1, key: key() }, Held { slot: 1, key: key() }];
        for held in [vec![Held { slot: 2, key: key() }], vec![Held { slot: 0, key: None }], twice] {
            assert_eq!(check(holding(held)).unwrap_err().code(), Code::InvalidArgument);
        }
        let crowd = (0..=SLOTS_MAX as u32).map(|index| WorkerSlot { index, ..WorkerSlot::default() }).collect();
        assert!(check(Hello { slots: crowd, ..hello("w", VERSION) }).unwrap_err().message().contains("at most"));
    }
}
