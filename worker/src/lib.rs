//! The worker: the supervisor of one host's slots. It holds the session with the coordinator, moves artifacts, and gives
//! every slot an engine, a child process that does the computing. It never links libtorch: whatever happens to an engine,
//! the heartbeat goes on.
//!
//! ```text
//!                  ┌── heartbeats ──┐
//!  coordinator ◀───┤    session     ├──▶ slot 0 ──▶ engine process
//!       ▲          └────────────────┘    slot 1 ──▶ engine process
//!       │                         └────▶ serving ─▶ engine process
//!       └──── artifacts (a connection of its own) ──┘
//! ```

mod backoff;
mod crew;
mod device;
mod engine;
mod fence;
mod frame;
mod log;
mod options;
mod outbox;
mod scratch;
mod serving;
mod session;
mod slot;
mod task;
mod transfer;
mod worker;

pub use device::{Device, InvalidDevice};
pub use engine::EngineError;
pub use options::{Config, ConfigError, Options};
pub use session::Refused;
pub use worker::{WorkerError, run};
