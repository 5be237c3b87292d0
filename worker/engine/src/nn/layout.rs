//! Where each named tensor of each member lies in the arena.

use super::initialization::Initialization;

/// What a parameter does, which decides its weight decay and its precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weight of a convolution or a linear layer.
    Weight,
    /// The bias of a convolution or a linear layer.
    Bias,
    /// Scale or shift of a normalization; always computed in f32.
    Norm,
}

/// How the members of a pack lie in the tensor that a layer computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Along the first dimension, as channels: `[M·C, ..]`.
    Channels,
    /// Along a dimension of their own: `[M, ..]`.
    Stacked,
}

/// One named tensor: its shape in one member, and where the pack's block of it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Name as torchvision has it, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Shape in one member, without the pack.
    pub shape: Vec<i64>,
    /// First element of the pack's block in the arena.
    pub offset: i64,
    /// How a layer sees the pack.
    pub join: Join,
    /// What the parameter does; [`Role::Norm`] for buffers.
    pub role: Role,
    /// How it starts.
    pub initialization: Initialization,
}

impl Slot {
    /// Elements of one member.
    pub fn length(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Convolution weights `[O, I, H, W]` are stored as `[O, H, W, I]`: channels-last, as their inputs are, so that no
    /// forward pass has to reorder them.
    pub fn is_channels_last(&self) -> bool {
        self.shape.len() == 4
    }
}

/// Refers to a parameter of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterId(pub(super) usize);

/// Refers to a pair of running statistics (mean and variance) of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsId(pub(super) usize);

/// The tensors of an architecture, packed `width` times, in three arenas: trainable parameters (f32), running statistics
/// (f32), counters (i64). In each, tensors follow one another in the order of registration, and within a tensor the
/// members do: `[p1: M×n1][p2: M×n2]...`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    width: i64,
    pub(super) parameters: Vec<Slot>,
    pub(super) statistics: Vec<Slot>,
    pub(super) counters: Vec<Slot>,
}

impl Layout {
    /// An empty layout for `width` members.
    pub fn new(width: usize) -> Self {
        Self { width: width as i64, parameters: Vec::new(), statistics: Vec::new(), counters: Vec::new() }
    }

    /// Members of the pack.
    pub fn width(&self) -> i64 {
        self.width
    }

    /// Adds a trainable parameter.
    pub fn parameter(
        &mut self,
        name: String,
        shape: &[i64],
        join: Join,
        role: Role,
        initialization: Initialization,
    ) -> ParameterId {
        let offset = end_of(&self.parameters, self.width);
        self.parameters.push(Slot { name, shape: shape.to_vec(), offset, join, role, initialization });
        ParameterId(self.parameters.len() - 1)
    }

    /// Adds `prefix.running_mean`, `prefix.running_var` and `prefix.num_batches_tracked`.
    pub fn running_statistics(&mut self, prefix: &str, channels: i64) -> StatisticsId {
        let first = self.statistics.len();
        self.statistic(format!("{prefix}.running_mean"), channels, Initialization::Zeros);
        self.statistic(format!("{prefix}.running_var"), channels, Initialization::Ones);
        let offset = end_of(&self.counters, self.width);
        self.counters.push(buffer(format!("{prefix}.num_batches_tracked"), vec![], offset, Initialization::Zeros));
        StatisticsId(first)
    }

    fn statistic(&mut self, name: String, channels: i64, initialization: Initialization) {
        let offset = end_of(&self.statistics, self.width);
        self.statistics.push(buffer(name, vec![channels], offset, initialization));
    }

    /// Elements of the three arenas: parameters, statistics, counters.
    pub fn lengths(&self) -> [i64; 3] {
        [&self.parameters, &self.statistics, &self.counters].map(|slots| end_of(slots, self.width))
    }

    /// Trainable parameters of one member.
    pub fn parameters_per_member(&self) -> i64 {
        self.parameters.iter().map(Slot::length).sum()
    }

    /// The slots of the trainable parameters, in the order of the arena.
    pub fn parameters(&self) -> &[Slot] {
        &self.parameters
    }
}

fn end_of(slots: &[Slot], width: i64) -> i64 {
    slots.last().map_or(0, |slot| slot.offset + width * slot.length())
}

fn buffer(name: String, shape: Vec<i64>, offset: i64, initialization: Initialization) -> Slot {
    Slot { name, shape, offset, join: Join::Channels, role: Role::Norm, initialization }
}
