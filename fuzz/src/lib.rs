//! Hostile input, for everything that reads what somebody else wrote.
//!
//! A target takes bytes, and must neither panic nor ask for memory that the bytes do not justify. Its inputs are made in
//! one of two ways: valid samples with a few [`Edit`]s, which get past the first checks and break the later ones, or
//! messages grown from the descriptors of the wire ([`message`]). bolero chooses edits and seeds, shrinks what fails, and
//! lets a coverage-guided fuzzer choose them in its stead.
//!
//! ```text
//! cargo test --release -p fuzz                                         a taste, with every test run
//! BOLERO_RANDOM_ITERATIONS=1000000 cargo test --release -p fuzz        a million cases for each target
//! cargo bolero test --package fuzz job_file                            guided by coverage (cargo install cargo-bolero)
//! ```

mod edit;
pub mod memory;
pub mod message;
pub mod server;
pub mod targets;

pub use edit::{Edit, edited};
