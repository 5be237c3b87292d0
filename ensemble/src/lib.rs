//! The domain of Tutti: pure, synchronous, without IO, clock, randomness of its own, or threads.

pub mod average;
pub mod cluster;
pub mod combine;
pub mod dataset;
pub mod expand;
pub mod id;
pub mod job;
pub mod metrics;
pub mod predictions;
pub mod report;
pub mod run;
pub mod schedule;
pub mod view;
pub mod weights;
