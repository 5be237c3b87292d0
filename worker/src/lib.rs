//! The worker: the supervisor of one host's slots. It holds the session with the coordinator, moves artifacts, and gives
//! every slot an engine, a child process that does the computing. It never links libtorch: whatever happens to an engine,
//! the heartbeat goes on.
//!
//! ```text
//!                  ┌── heartbeats ──┐            ┌──▶ slot 0 ──▶ engine process
//!  coordinator ◀───┤     keeper     ├── orders ──┼──▶ slot 1 ──▶ engine process
//!       ▲          └───────▲────────┘            └──▶ serving ─▶ engine process
//!       │               outbox ◀───── reports, lines ────┘
//!       └────── artifacts (a connection of their own) ───┘
//! ```
//!
//! Sessions come and go; tasks go on. What must not be lost waits in the outbox until the coordinator has recorded it.
//! Once it is no longer sure whose the leases are, the gate shuts: engines compute on, and nothing is stored or said.

mod backoff;
mod crew;
mod device;
mod endpoint;
mod engine;
mod fence;
mod frame;
mod gate;
mod keeper;
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

pub use crew::{Crew, Overrun};
pub use device::{Device, InvalidDevice};
pub use endpoint::{Dial, Dialing};
pub use engine::EngineError;
pub use gate::Gate;
pub use keeper::{Parts, Refused, keep};
pub use options::{Config, ConfigError, Options};
pub use outbox::{Outbox, SessionNumber};
pub use task::Patience;
pub use worker::{WorkerError, run};
