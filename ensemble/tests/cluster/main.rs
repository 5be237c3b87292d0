//! The cluster against scripts of events, and against seeded random histories.
#![allow(clippy::unwrap_used)]

mod averages;
mod bounds;
mod contests;
mod jobs;
mod leases;
mod preemption;
mod random;
mod reattach;
mod restarts;
mod script;
mod shares;
mod standing;
mod views;
