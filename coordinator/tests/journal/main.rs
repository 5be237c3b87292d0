//! Journals in SQLite and in PostgreSQL: one suite for both, and what each of them promises alone. PostgreSQL is a real
//! server, thrown away afterwards.

#![allow(clippy::unwrap_used)]

mod backups;
mod entries;
mod leaders;
mod outages;
mod places;
mod server;
mod suite;
mod torn;
mod upgrades;
