//! Every method of every service of a real coordinator, with messages that mean anything at all.
#![allow(clippy::unwrap_used)]

use bolero::check;
use fuzz::message::{Choices, grow};
use fuzz::server::{Server, Tally, methods};
use std::panic::AssertUnwindSafe;
use tokio::runtime::Runtime;
use tonic::Code;

/// Calls with every test run.
const CALLS: usize = 3_000;
/// The process may not hold more than this afterwards, coordinator, client and runtime together.
const RESIDENT_MIB_MAX: u64 = 600;

#[test]
fn no_message_takes_the_coordinator_down() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(folder.path()));
    // What a panic leaves behind is looked at below.
    let call = AssertUnwindSafe(|bytes: &[u8]| runtime.block_on(server.call(bytes)));
    check!().with_iterations(CALLS).for_each(move |bytes: &[u8]| call(bytes));
    runtime.block_on(server.check_alive());
    check_reach(&server.tally());
    let resident = most_resident_mib();
    assert!(resident <= RESIDENT_MIB_MAX, "{resident} MiB");
}

/// Calls that are all refused at the door would test nothing behind it.
fn check_reach(tally: &Tally) {
    let called: Vec<_> = tally.keys().collect();
    assert_eq!(called.len(), methods().len(), "{called:?}");
    for taken in ["tutti.v1.Workers.Session", "tutti.v1.Jobs.Submit", "tutti.v1.Artifacts.Download"] {
        assert!(tally[taken].contains_key(Code::Ok.description()), "{taken}: {:?}", tally[taken]);
    }
}

/// A generator that always gave the same would test nothing.
#[test]
fn messages_differ_and_every_service_is_called() {
    let methods = methods();
    assert!(methods.len() >= 14, "{}", methods.len());
    let session = methods.iter().find(|method| method.name() == "Session").unwrap();
    let grown = |bytes: &[u8]| grow(&session.input(), &mut Choices::new(bytes));
    assert_ne!(grown(&[1, 2, 3]), grown(&[2, 3, 4]));
}

/// The most memory that this process ever had resident.
fn most_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
