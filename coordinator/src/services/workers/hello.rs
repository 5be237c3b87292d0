//! The first message of a session: who it is, and whether it may stay.

use crate::VERSION;
use ensemble::cluster::Slot;
use ensemble::id::WorkerId;
use proto::v1::{FromWorker, Hello, from_worker::Message};
use std::time::Duration;
use tonic::{Status, Streaming};

/// A worker says hello at once. Who does not is no worker.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker that may join.
#[derive(Debug, PartialEq)]
pub(super) struct Greeting {
    pub worker: WorkerId,
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
    if hello.version != VERSION {
        let problem = format!("the worker has version {}, the coordinator {VERSION}", hello.version);
        return Err(Status::failed_precondition(format!("{problem}; install the same version of Tutti on both")));
    }
    let printable = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    if hello.worker.is_empty() || !printable(&hello.worker) {
        let problem = "a worker's name is printable ASCII without spaces; give it one (TUTTI_WORKER_NAME)";
        return Err(Status::invalid_argument(problem));
    }
    let slots = hello.slots.into_iter().map(Slot::from).collect();
    Ok(Greeting { worker: WorkerId::new(hello.worker), slots })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
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
    fn a_name_must_be_fit_to_print() {
        assert!(check(hello("host-1.rack_2", VERSION)).is_ok());
        for name in ["", "two words", "línea", "a\n"] {
            assert_eq!(check(hello(name, VERSION)).unwrap_err().code(), Code::InvalidArgument, "{name:?}");
        }
    }
}
