#![allow(clippy::unwrap_used)]
mod random;
mod script;
