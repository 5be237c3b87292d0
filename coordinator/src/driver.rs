//! The driver: one thread owns the one [`Cluster`](ensemble::cluster::Cluster), and the [`Handle`] is its face.
//!
//! # The order
//! Requests are taken in rounds. In each: every command is applied, then **the journal** is written and synced, then
//! the callers are **answered**, then the **effects** are acted on.
//!
//! - Applying comes before the journal, because only applying tells whether a command is accepted, and a rejected one
//!   changes nothing and is no part of history. That is safe because nobody can see the new state before the journal
//!   has it. If the journal fails for a reason that may pass, the driver keeps the round, says so, and tries until the
//!   journal has it; the requests that wait meanwhile are bounded, and users are refused. If it fails for good, the
//!   driver ends without an answer and without an effect, and the process with it: the state that got ahead dies unseen.
//! - An answer means "this survives a power failure". A caller who got none must ask again, and gets the same result.
//! - Effects come last, so that no worker starts what a crash could make the coordinator forget. A crash between
//!   journal and effects loses effects only: sessions end with the process, so their leases are granted again, and
//!   averages and reports that were not finished are begun again
//!   ([`Cluster::outstanding`](ensemble::cluster::Cluster::outstanding)).
//!
//! One sync serves a whole round, so many workers cost little more than one.
//!
//! # Time
//! What time brings about ([`Cluster::due`](ensemble::cluster::Cluster::due): silent workers leave, pauses end) comes as
//! commands like any other, and is journalled like any other. Heartbeats are not journalled: they move nothing but the
//! moment at which a worker counts as silent, and that moment is in the journal when it comes. So replay needs neither
//! clock nor heartbeats. A driver that finds that it was not running itself, because its process or its journal was
//! stalled, says so to the cluster ([`Command::Resume`](ensemble::cluster::Command::Resume)) before it asks what is due:
//! workers that it could not hear are not to blame.

mod handle;
mod patience;
mod replay;
#[cfg(test)]
mod tests;
mod thread;

pub use handle::{ApplyError, Handle, Stopped};
pub use patience::Stall;
pub use replay::{Restored, replay};
pub use thread::{Act, Driver, Ended, Place, REQUESTS_MAX, TICK_EVERY, spawn};
