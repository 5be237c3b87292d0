//! What happens to a task that failed or lost its worker.

use super::settings::MESSAGE_BYTES_MAX;
use super::task::Task;
use super::{Failure, FailureClass, Millis, Settings};
use crate::id::TaskId;

/// What is to be done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Grant the task again at once.
    Again,
    /// Grant it again after a pause of this many milliseconds; what has happened, for people.
    Later(Millis, String),
    /// The job cannot succeed, for this reason.
    Hopeless(String),
}

/// Counts a failure and judges it. What the job or its data are to blame for fails again, so it is not tried again.
pub(super) fn after_failure(task: &mut Task, id: &TaskId, failure: &Failure, settings: &Settings) -> Verdict {
    let message = clipped(&failure.message);
    if matches!(failure.class, FailureClass::User | FailureClass::Data) {
        return Verdict::Hopeless(message);
    }
    task.failures += 1;
    if task.failures > settings.restarts_max {
        return Verdict::Hopeless(format!("`{id}` failed {} times; the last time: {message}", task.failures));
    }
    Verdict::Later(pause(task.failures, id, settings), format!("`{id}` failed and is tried again: {message}"))
}

/// Counts the loss of a worker. It is not the task's fault, so there is no pause.
pub(super) fn after_loss(task: &mut Task, id: &TaskId, settings: &Settings) -> Verdict {
    task.losses += 1;
    if task.losses > settings.losses_max {
        return Verdict::Hopeless(format!("`{id}` lost its worker {} times; see why workers go", task.losses));
    }
    Verdict::Again
}

/// `pause_ms` doubled with every failure, and up to half as much on top, so that tasks that failed together are not tried
/// again together. The extra is drawn from the task's name and the failure's number: replay needs no random source.
fn pause(failures: u32, id: &TaskId, settings: &Settings) -> Millis {
    let doubled = settings.pause_ms.saturating_mul(1 << failures.saturating_sub(1).min(32));
    let base = doubled.min(settings.pause_max_ms);
    let jitter = hash(id.as_str(), failures) % (base / 2 + 1);
    (base + jitter).min(settings.pause_max_ms)
}

/// FNV-1a over the name and the number, finished with the mixer of SplitMix64 so that near names draw far numbers.
fn hash(name: &str, number: u32) -> u64 {
    let bytes = name.bytes().chain(number.to_le_bytes());
    let fnv =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The start of a message, cut between characters.
pub(super) fn clipped(message: &str) -> String {
    let end = (0..=MESSAGE_BYTES_MAX.min(message.len())).rev().find(|&end| message.is_char_boundary(end));
    message[..end.unwrap_or(0)].to_owned()
}
