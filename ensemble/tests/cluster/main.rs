//! The cluster against scripts of events, and against seeded random histories.
#![allow(clippy::unwrap_used)]

mod averages;
mod bounds;
mod contests;
mod damage;
mod decay;
mod jobs;
mod leases;
mod losses;
mod preemption;
mod random;
mod reattach;
mod restarts;
mod retention;
mod script;
mod shares;
mod standing;
mod views;
