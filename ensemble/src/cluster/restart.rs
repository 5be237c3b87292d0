//! What happens to a task that failed or lost its worker: it is tried again, as often as the budget for what went wrong
//! allows.
//!
//! | what went wrong | whose doing | budget |
//! |---|---|---|
//! | user | the job's: it would go wrong again | none |
//! | data | the job's, or a worker's that cannot see them | until [`Settings::workers_max`] workers, or all there are, agree |
//! | out of memory | the job's, or a neighbor's on the same device | [`Settings::memory_restarts_max`] |
//! | engine lost | the engine's, or the machine's | [`Settings::restarts_max`] |
//! | device, infrastructure, worker lost | the machines' | [`Settings::losses_max`] |
//! | device, on [`Settings::workers_max`] workers | the job's after all | none |
//!
//! Each has a counter of its own for each task, so that a bad night of the machines does not use up what is meant for the
//! job's own faults. Counters are never set back: what fails once a day fails.

use super::settings::MESSAGE_BYTES_MAX;
use super::task::{Faults, Task};
use super::{Failure, FailureClass, Millis, Settings};
use crate::id::TaskId;

/// What is to be done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Grant the task again at once.
    Again,
    /// Grant it again after a pause of this many milliseconds; what has happened, for people.
    Later(Millis, String),
    /// The task cannot succeed, for this reason.
    Hopeless(String),
}

/// Counts a failure and judges it. `elsewhere`: whether there is a worker on which the task has not failed yet.
pub(super) fn after_failure(
    task: &mut Task,
    id: &TaskId,
    failure: &Failure,
    elsewhere: bool,
    settings: &Settings,
) -> Verdict {
    let Failure { class, message } = failure;
    let message = clipped(message);
    let workers = task.failed_on.len();
    let agreed = workers >= settings.workers_max as usize;
    let Some((count, budget)) = count(&mut task.faults, *class, settings) else {
        return Verdict::Hopeless(format!("`{id}` failed ({class}; never tried again): {message}"));
    };
    match class {
        FailureClass::Data if agreed || !elsewhere => {
            return Verdict::Hopeless(format!("`{id}` failed ({class}, on {}): {message}", counted(workers)));
        }
        FailureClass::Device if agreed => {
            return Verdict::Hopeless(format!("`{id}` failed for good ({class}, on {}): {message}", counted(workers)));
        }
        _ => {}
    }
    if count > budget {
        return Verdict::Hopeless(format!(
            "`{id}` failed for good ({class}, {count} times; it is tried again {budget} times): {message}"
        ));
    }
    let trouble = format!("`{id}` failed and is tried again ({class}, {count} of {budget} times): {message}");
    Verdict::Later(pause(count, id, settings), trouble)
}

/// Counts the loss of a worker. The worker took its time to be missed, so there is no pause on top.
pub(super) fn after_loss(task: &mut Task, id: &TaskId, settings: &Settings) -> Verdict {
    let (count, budget) = (&mut task.faults.infrastructure, settings.losses_max);
    *count += 1;
    if *count > budget {
        return Verdict::Hopeless(format!(
            "`{id}` lost its worker for good (infrastructure, {count} times; it is tried again {budget} times): see why \
             workers go"
        ));
    }
    Verdict::Again
}

/// How often a task has met what went wrong now, and how often it may. None for what it may never meet.
fn count(faults: &mut Faults, class: FailureClass, settings: &Settings) -> Option<(u32, u32)> {
    let (count, budget) = match class {
        FailureClass::User => return None,
        FailureClass::Data => (&mut faults.data, settings.losses_max),
        FailureClass::OutOfMemory => (&mut faults.memory, settings.memory_restarts_max),
        FailureClass::EngineLost => (&mut faults.engine, settings.restarts_max),
        FailureClass::Device | FailureClass::Infrastructure => (&mut faults.infrastructure, settings.losses_max),
    };
    *count += 1;
    Some((*count, budget))
}

fn counted(workers: usize) -> String {
    if workers == 1 { "the only worker".to_owned() } else { format!("{workers} workers") }
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
