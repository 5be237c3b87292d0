//! A deterministic simulation of a whole cluster: a coordinator, workers, users, and everything that can go wrong.
//!
//! # What is real
//! [`ensemble::cluster::Cluster`], and nothing else. Around it stand models of what the coordinator and the workers do
//! with it, written from the protocol and small enough to be read: the driver's order (apply, write, answer, act), the
//! journal's disk, sessions, numbered reports, fences, slots. Whether the programs follow the same protocol is the
//! business of the tests with real processes.
//!
//! # What is simulated
//! - **Time**: one clock of milliseconds that jumps from event to event ([`agenda`]). Each worker's own clock runs up to
//!   5 % fast or slow; the coordinator's clock may be set back at a restart.
//! - **The network** ([`network`]): ordered connections that are slow, cut one way or both, half open, or break.
//! - **Processes** ([`worker`], [`coordinator`]): they are killed, stopped for longer than a lease, asked to end, and
//!   started again.
//! - **The journal's disk** ([`journal`]): bytes, of which a crash leaves some; it may be full for a while.
//! - **Training** ([`training`]): a run's weights are a number that every step mixes anew, so that a step left out, taken
//!   twice, or taken from a wrong checkpoint shows in the digests at the end.
//! - **Users** ([`users`]): they ask again until they are answered, with the same key.
//!
//! Not simulated: progress, logs, predictions and serving, which are not journalled; bytes in flight, whose integrity is
//! the store's; and more than one coordinator.
//!
//! # What is checked
//! After every event, the sentences called `invariant_…` ([`invariants`], [`ledger`]). At the end of each history faults
//! stop, and every job must end within an hour of virtual time; what is done must have the digests and the report that the
//! same job has when it is alone and nothing goes wrong ([`baseline`]).
//!
//! # Its teeth
//! Five defects that can be switched on ([`defect`]), each with the sentence that breaks, are found by a test of their own.
//!
//! # A history
//! is a function of its seed ([`plan`]). When one fails, the same seed shows it again; its plan is then made as short as it
//! can be while the same sentence still breaks ([`shrink`]).

pub mod campaign;

mod agenda;
mod baseline;
mod coordinator;
pub mod defect;
mod disk;
mod env;
mod faults;
mod history;
mod invariants;
mod jobs;
mod journal;
mod ledger;
mod network;
pub mod plan;
mod random;
mod shrink;
mod store;
mod training;
mod users;
mod wire;
mod worker;
mod world;
