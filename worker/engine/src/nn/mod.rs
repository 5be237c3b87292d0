//! Layers and models, all of them packs: M members of one architecture side by side in one program.

pub mod arena;
pub mod initialization;
pub mod layers;
pub mod layout;
pub mod models;

use ensemble::job::{Model as Specification, Precision};
use tch::{Device, Kind, TchError, Tensor};

use crate::random::{Purpose, RandomStreams};
use arena::Arena;
use layers::{Builder, Pass};
use layout::Layout;
use models::Model;

/// Weight of the newest batch in the running statistics while training, as PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// The most numbers that the parameters of a pack may have: 16 GiB in f32, and far more than fits beside gradients and
/// optimizer state on any one device.
const MAX_PARAMETERS: i64 = 1 << 32;

/// One image as the network takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShape {
    /// Color planes.
    pub channels: i64,
    /// Rows.
    pub height: i64,
    /// Columns.
    pub width: i64,
}

impl std::fmt::Display for InputShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Gradients will be asked for: batch statistics, dropout drawn for this step.
    Train {
        /// Counted from the start of the run; it keys the random streams.
        step: u64,
    },
    /// Running statistics, no dropout, no gradients.
    Evaluate,
    /// Recomputes running statistics as equal means over all batches since [`Network::begin_calibration`]; no dropout,
    /// no gradients. As `torch.optim.swa_utils.update_bn`, but for dropout, which is off where the statistics will be used.
    Calibrate,
}

/// Why a network cannot be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A size or option that no network can have.
    #[error("{what} is {value}, but must be {range}")]
    Invalid {
        /// What was given.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is possible.
        range: &'static str,
    },
    /// The pack would not fit in any memory.
    #[error(
        "the pack would have {parameters} parameters, more than {MAX_PARAMETERS}: use fewer members or a smaller architecture"
    )]
    TooLarge {
        /// Parameters of all members.
        parameters: i128,
    },
    /// A tensor that the architecture needs is not among those given.
    #[error("tensor {name} is missing: the weights are of another architecture")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape than the architecture.
    #[error("tensor {name} has shape {found:?}, but the architecture needs {expected:?}")]
    WrongShape {
        /// Its name.
        name: String,
        /// The architecture's shape.
        expected: Vec<i64>,
        /// The given shape.
        found: Vec<i64>,
    },
    /// A tensor has another kind than the architecture.
    #[error("tensor {name} is of kind {found:?}, but the architecture needs {expected:?}")]
    WrongKind {
        /// Its name.
        name: String,
        /// The architecture's kind.
        expected: Kind,
        /// The given kind.
        found: Kind,
    },
    /// libtorch refused, most often for lack of memory.
    #[error(transparent)]
    Libtorch(#[from] TchError),
}

/// A pack of M networks of one architecture, on one device.
#[derive(Debug)]
pub struct Network {
    model: Box<dyn Model>,
    arena: Arena,
    streams: RandomStreams,
    input: InputShape,
    device: Device,
    precision: Precision,
    calibrated: u64,
}

impl Network {
    /// A freshly initialized pack, one member for each seed. A member's weights depend on its own seed alone.
    pub fn new(
        model: &Specification,
        input: InputShape,
        classes: i64,
        dropout: f64,
        seeds: &[u64],
        device: Device,
        precision: Precision,
    ) -> Result<Self, NetworkError> {
        check(input, classes, dropout, seeds)?;
        let mut layout = Layout::new(seeds.len());
        let model = models::build(model, &mut Builder::new(&mut layout, dropout), input, classes)?;
        let parameters = i128::from(layout.parameters_per_member()) * seeds.len() as i128;
        if parameters > i128::from(MAX_PARAMETERS) {
            return Err(NetworkError::TooLarge { parameters });
        }
        let arena = Arena::new(layout, seeds, device, precision)?;
        Ok(Self { model, arena, streams: RandomStreams::new(seeds), input, device, precision, calibrated: 0 })
    }

    /// Logits `[M, B, classes]` in f32 for images `x` `[M, B, C, H, W]` in f32: normalized, each member with its own batch.
    pub fn forward(&mut self, x: &Tensor, mode: Mode) -> Result<Tensor, NetworkError> {
        let x = self.arrange(x)?;
        self.arena.refresh()?;
        if mode == Mode::Calibrate {
            self.calibrated += 1;
        }
        let logits = match mode {
            Mode::Train { .. } => self.run(x, mode)?,
            Mode::Evaluate | Mode::Calibrate => tch::no_grad(|| self.run(x, mode))?,
        };
        if mode != Mode::Evaluate {
            self.arena.count_batch()?;
        }
        Ok(logits)
    }

    fn run(&self, x: Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let (step, momentum) = match mode {
            Mode::Train { step } => (step, MOMENTUM),
            Mode::Evaluate => (0, 0.0),
            Mode::Calibrate => (0, 1.0 / self.calibrated as f64),
        };
        let masks = self.streams.at(Purpose::Dropout, step);
        let pass = Pass { arena: &self.arena, mode, masks, momentum };
        self.model.forward(&pass, x)?.f_to_kind(Kind::Float)
    }

    /// `[M, B, C, H, W]` as one image batch `[B, M·C, H, W]`, channels-last, in the kind that layers compute in.
    fn arrange(&self, x: &Tensor) -> Result<Tensor, NetworkError> {
        let InputShape { channels, height, width } = self.input;
        let members = self.width();
        let batch = match x.size()[..] {
            [m, batch, c, h, w] if (m, c, h, w) == (members, channels, height, width) && batch > 0 => batch,
            _ => {
                let (name, expected) = ("input".to_owned(), vec![members, -1, channels, height, width]);
                return Err(NetworkError::WrongShape { name, expected, found: x.size() });
            }
        };
        let rows = x.f_permute([1, 3, 4, 0, 2])?.f_to_kind(self.kind())?.f_contiguous()?;
        Ok(rows.f_view([batch, height, width, members * channels])?.f_permute([0, 3, 1, 2])?)
    }

    fn kind(&self) -> Kind {
        match self.precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }

    /// The gradient of a scalar `loss` for every parameter, flat, as [`Arena::parameters`] lies. With the sum of the
    /// members' losses, each member gets its own gradient: members share no parameter.
    pub fn gradients(&self, loss: &Tensor) -> Result<Tensor, NetworkError> {
        Ok(self.arena.gradients(loss)?)
    }

    /// Forgets the running statistics; forward passes with [`Mode::Calibrate`] then average them anew.
    pub fn begin_calibration(&mut self) -> Result<(), NetworkError> {
        self.calibrated = 0;
        Ok(self.arena.reset_statistics()?)
    }

    /// Members of the pack.
    pub fn width(&self) -> i64 {
        self.arena.width()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The numbers of the pack.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The numbers of the pack, to be changed.
    pub fn arena_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

fn check(input: InputShape, classes: i64, dropout: f64, seeds: &[u64]) -> Result<(), NetworkError> {
    within("input channels", input.channels, 1, 1 << 12, "1 to 4096")?;
    within("input height", input.height, 1, 1 << 14, "1 to 16384")?;
    within("input width", input.width, 1, 1 << 14, "1 to 16384")?;
    within("classes", classes, 2, 1 << 20, "2 to 1048576")?;
    within("pack width", seeds.len() as i64, 1, 1 << 10, "1 to 1024")?;
    if !(0.0..1.0).contains(&dropout) {
        return Err(invalid("dropout", dropout, "at least 0 and below 1"));
    }
    Ok(())
}

fn within(what: &'static str, value: i64, low: i64, high: i64, range: &'static str) -> Result<(), NetworkError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(invalid(what, value, range)) }
}

fn invalid(what: &'static str, value: impl ToString, range: &'static str) -> NetworkError {
    NetworkError::Invalid { what, value: value.to_string(), range }
}
