//! The bounds on what comes in and goes out over gRPC.

use std::time::Duration;

/// The largest message either way, save the chunks of artifacts: a batch of inputs to predict fits, a model does not.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The largest message of a session: what a user may send or get, and what goes around it.
pub const SESSION_MESSAGE_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// How much may be on its way on one stream before the receiver must say that it has room: one chunk.
pub const WINDOW_BYTES: u32 = 1 << 20;

/// The largest piece of an artifact in one message: large enough to be cheap, small enough not to hold up a heartbeat.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// How many artifacts may be on their way at once, up or down. Each has a thread that reads or writes it; more wait for
/// their turn before they start.
pub const TRANSFERS_MAX: usize = 64;

/// How many chunks may wait between a connection and a disk: with 1 MiB each, what one transfer holds in memory.
pub const CHUNKS_IN_FLIGHT: usize = 4;

/// A transfer that has not moved for so long is given up, and its place with it.
pub const TRANSFER_STALL: Duration = Duration::from_secs(60);

/// How many requests one connection may have open. A worker needs a session and a few transfers.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// How often a silent connection is probed, and how long it may take to answer: a peer that lost power is noticed.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// See [`KEEPALIVE_EVERY`].
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a watched job's state is sent at most.
pub const STATUS_EVERY: Duration = Duration::from_millis(200);

/// How many state or log messages may wait for one client that reads slowly.
pub const UPDATES_IN_FLIGHT: usize = 16;

/// How many of a log's last lines may be asked for: they are held in memory while its end is looked for, each of a few
/// kilobytes at most.
pub const LOG_TAIL_MAX: u32 = 2_000;
