//! The layer set. Every layer takes a pack of M members; M = 1 is the same code.
//!
//! Between convolutions a pack is one image batch `[B, M·C, H, W]`, channels-last in memory, members as groups of
//! channels. Between linear layers it is `[M, B, features]`.

mod conv;
mod dropout;
mod linear;
mod norm;
mod pool;

pub use conv::{Conv2d, Geometry};
pub use dropout::Dropout;
pub use linear::Linear;
pub use norm::{After, BatchNorm};
pub use pool::{global_average, max_pool};

use tch::{TchError, Tensor};

use super::Mode;
use super::arena::Arena;
use super::layout::Layout;
use crate::random::PackStream;

/// Names and registers what layers own while a model is built.
pub struct Builder<'a> {
    layout: &'a mut Layout,
    dropout: f64,
    dropouts: u64,
}

impl<'a> Builder<'a> {
    /// Registers in `layout`; `dropout` is the chance that a dropout layer drops an element.
    pub fn new(layout: &'a mut Layout, dropout: f64) -> Self {
        Self { layout, dropout, dropouts: 0 }
    }

    /// The next dropout layer: each has a stream of its own.
    pub fn dropout(&mut self) -> Dropout {
        self.dropouts += 1;
        Dropout::new(self.dropout, self.dropouts)
    }
}

/// One pass through a network: what layers may look at.
pub struct Pass<'a> {
    /// Parameters and running statistics.
    pub arena: &'a Arena,
    /// What the pass is for.
    pub mode: Mode,
    /// Where dropout masks are drawn from: one stream a member, of this step.
    pub masks: PackStream,
    /// Weight of this batch in the running statistics of normalizations.
    pub momentum: f64,
}

impl Pass<'_> {
    /// Whether gradients will be asked for.
    pub fn is_training(&self) -> bool {
        matches!(self.mode, Mode::Train { .. })
    }

    /// Whether normalizations use the batch's own statistics, and record them.
    pub fn uses_batch_statistics(&self) -> bool {
        !matches!(self.mode, Mode::Evaluate)
    }

    /// Members of the pack.
    pub fn width(&self) -> i64 {
        self.arena.width()
    }
}

/// `[B, M·F]` as `[M, B, F]`: a view.
pub fn stack_members(x: &Tensor, width: i64) -> Result<Tensor, TchError> {
    let (batch, features) = x.size2()?;
    x.f_view([batch, width, features / width])?.f_transpose(0, 1)
}
