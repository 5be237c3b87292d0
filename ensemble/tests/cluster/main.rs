//! The cluster against scripts of events, and against seeded random histories.
#![allow(clippy::unwrap_used)]

mod averages;
mod bounds;
mod contests;
mod jobs;
mod leases;
mod random;
mod restarts;
mod script;
mod views;
