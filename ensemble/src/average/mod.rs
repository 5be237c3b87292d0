//! Averaging of weights: stored models as streams of safetensors bytes ([`Plan`]), and the decay of averages
//! that are kept while training ([`ema_decay`]).
//!
//! Sums are `f64`, in the order of the inputs, so the same models give the same bytes on every machine and for every
//! division of the work. The result is rounded once, to nearest even, back to the tensors' own type.
//!
//! ```text
//!  N headers ──▶ Plan ──▶ header bytes of the output
//!                 └─ split(n) ──▶ Part ── run(weights, read, write) ── 64 KiB at a time
//! ```
//! The caller owns files and threads; memory is about 0.3 MB a part, whatever the size and number of the models.

mod decay;
mod element;
mod header;
mod lineage;
mod mean;
mod plan;
mod stream;

pub use decay::ema_decay;
pub use header::{HEADER_BYTES_MAX, Header, HeaderError, Tensor, write as write_header};
pub use lineage::{Lineage, Unrelated, check_lineage};
pub use mean::{MeanError, WeightedMean};
pub use plan::{CHUNK_BYTES, Mismatch, Part, Plan, Segment, Treatment};
pub use safetensors::Dtype;
pub use stream::{AverageError, average_streams, read_header};
