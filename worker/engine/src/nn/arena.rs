//! All the numbers of a pack in three flat tensors.
//!
//! Parameters are views of one f32 tensor, so that an optimizer step, an average or a checkpoint is one operation on one
//! tensor. Layers compute with *leaves*: views of the arena (f32), or of its bf16 copy, which gradients are taken for.

use std::collections::HashMap;

use ensemble::job::Precision;
use tch::{Device, Kind, TchError, Tensor};

use super::NetworkError;
use super::layout::{Join, Layout, ParameterId, Role, Slot, StatisticsId};
use crate::random::{Purpose, Stream};

/// The numbers of a pack and nothing else: what is checkpointed, averaged, compared and restored.
#[derive(Debug)]
pub struct State {
    /// Trainable parameters, f32, flat.
    pub parameters: Tensor,
    /// Running means and variances, f32, flat.
    pub statistics: Tensor,
    /// Batches tracked by each normalization, i64, flat.
    pub counters: Tensor,
}

impl State {
    /// A copy that shares no memory with this one.
    pub fn duplicate(&self) -> Result<Self, TchError> {
        Ok(Self {
            parameters: duplicate(&self.parameters)?,
            statistics: duplicate(&self.statistics)?,
            counters: duplicate(&self.counters)?,
        })
    }

    /// A copy on the host that shares no memory with this one.
    pub fn on_host(&self) -> Result<Self, TchError> {
        Ok(Self {
            parameters: on_host(&self.parameters)?,
            statistics: on_host(&self.statistics)?,
            counters: on_host(&self.counters)?,
        })
    }
}

/// A copy on the host, in one piece.
pub fn on_host(flat: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = Tensor::f_empty(flat.size(), (flat.kind(), Device::Cpu))?;
    copy.f_copy_(&flat.f_detach()?)?;
    Ok(copy)
}

fn duplicate(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

/// The parameters and buffers of a pack, with the views that layers compute with.
#[derive(Debug)]
pub struct Arena {
    layout: Layout,
    state: State,
    leaves: Vec<Tensor>,
    reduced: Option<Reduced>,
}

/// The bf16 copy of the parameters, from which weights and biases are taken where the precision is bf16.
#[derive(Debug)]
struct Reduced {
    parameters: Tensor,
    is_current: bool,
}

impl Arena {
    /// An arena with freshly initialized members. Member m's values depend on `seeds[m]` alone.
    pub fn new(layout: Layout, seeds: &[u64], device: Device, precision: Precision) -> Result<Self, NetworkError> {
        let [parameters, statistics, counters] = layout.lengths();
        let state = State {
            parameters: Tensor::f_zeros([parameters], (Kind::Float, device))?,
            statistics: Tensor::f_zeros([statistics], (Kind::Float, device))?,
            counters: Tensor::f_zeros([counters], (Kind::Int64, device))?,
        };
        let reduced = match precision {
            Precision::F32 => None,
            Precision::Bf16 => {
                Some(Reduced { parameters: state.parameters.f_to_kind(Kind::BFloat16)?, is_current: false })
            }
        };
        let mut arena = Self { leaves: Vec::new(), layout, state, reduced };
        arena.initialize(seeds)?;
        arena.leaves = arena.make_leaves()?;
        Ok(arena)
    }

    fn initialize(&mut self, seeds: &[u64]) -> Result<(), TchError> {
        for (flat, slots) in
            [(&self.state.parameters, &self.layout.parameters), (&self.state.statistics, &self.layout.statistics)]
        {
            for (index, slot) in slots.iter().enumerate() {
                for (member, &seed) in seeds.iter().enumerate() {
                    let stream = Stream::new(seed, Purpose::Initialization, index as u64);
                    let values = slot.initialization.draw(stream, slot.length() as usize);
                    let values = Tensor::f_from_slice(&values)?.f_view(slot.shape.as_slice())?;
                    member_view(flat, slot, member as i64)?.f_copy_(&values)?;
                }
            }
        }
        Ok(())
    }

    fn make_leaves(&self) -> Result<Vec<Tensor>, TchError> {
        let leaf =
            |slot: &Slot| pack_view(self.source(slot), slot, self.width())?.f_detach()?.f_set_requires_grad(true);
        self.layout.parameters.iter().map(leaf).collect()
    }

    /// Norms compute in f32 at any precision.
    fn source(&self, slot: &Slot) -> &Tensor {
        match &self.reduced {
            Some(reduced) if slot.role != Role::Norm => &reduced.parameters,
            _ => &self.state.parameters,
        }
    }

    /// Members of the pack.
    pub fn width(&self) -> i64 {
        self.layout.width()
    }

    /// Where each tensor lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether there are running statistics, which an average of weights does not have.
    pub fn has_statistics(&self) -> bool {
        !self.layout.statistics.is_empty()
    }

    /// All parameters: f32, flat.
    pub fn parameters(&self) -> &Tensor {
        &self.state.parameters
    }

    /// All parameters, to be changed in place.
    pub fn parameters_mut(&mut self) -> &mut Tensor {
        self.mark_changed();
        &mut self.state.parameters
    }

    /// Parameters and buffers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes over the values of `state`, which is of the same layout.
    pub fn restore(&mut self, state: &State) -> Result<(), TchError> {
        self.mark_changed();
        self.state.parameters.f_copy_(&state.parameters)?;
        self.state.statistics.f_copy_(&state.statistics)?;
        self.state.counters.f_copy_(&state.counters)
    }

    fn mark_changed(&mut self) {
        if let Some(reduced) = &mut self.reduced {
            reduced.is_current = false;
        }
    }

    /// Brings the bf16 copy up to date, if there is one and parameters have changed: one cast of the whole arena.
    pub(super) fn refresh(&mut self) -> Result<(), TchError> {
        if let Some(reduced) = self.reduced.as_mut().filter(|reduced| !reduced.is_current) {
            reduced.parameters.f_copy_(&self.state.parameters)?;
            reduced.is_current = true;
        }
        Ok(())
    }

    /// The parameter that a layer computes with.
    pub(super) fn leaf(&self, id: ParameterId) -> &Tensor {
        &self.leaves[id.0]
    }

    /// Running mean and variance of a normalization over `M·C` channels.
    pub(super) fn statistics(&self, id: StatisticsId) -> Result<[Tensor; 2], TchError> {
        let view = |index: usize| pack_view(&self.state.statistics, &self.layout.statistics[index], self.width());
        Ok([view(id.0)?, view(id.0 + 1)?])
    }

    /// Counts one more batch in every normalization.
    pub(super) fn count_batch(&mut self) -> Result<(), TchError> {
        self.state.counters.f_add_scalar_(1).map(drop)
    }

    /// Running statistics as they are before any batch was seen.
    pub(super) fn reset_statistics(&mut self) -> Result<(), TchError> {
        let _ = self.state.counters.f_zero_()?;
        for slot in &self.layout.statistics {
            let start = f64::from(u8::from(slot.name.ends_with("running_var")));
            let _ = pack_view(&self.state.statistics, slot, self.width())?.f_fill_(start)?;
        }
        Ok(())
    }

    /// The gradient of `loss` for every parameter: f32, flat, as [`Arena::parameters`] lies.
    pub(super) fn gradients(&self, loss: &Tensor) -> Result<Tensor, TchError> {
        let gradients = Tensor::f_run_backward(&[loss], &self.leaves, false, false)?;
        let flat: Result<Vec<_>, TchError> =
            gradients.iter().zip(&self.layout.parameters).map(|(gradient, slot)| flatten(gradient, slot)).collect();
        Tensor::f_cat(&flat?, 0)?.f_to_kind(Kind::Float)
    }

    /// Every tensor of one member by name, without the pack: contiguous copies on the CPU, in torchvision's shapes.
    pub fn state_of(&self, member: usize) -> Result<Vec<(String, Tensor)>, TchError> {
        let named = self.named(&self.state);
        named.map(|(flat, slot)| Ok((slot.name.clone(), export(flat, slot, member as i64)?))).collect()
    }

    /// The same of another state of this layout, and without a copy: views of its tensors.
    pub fn views_of(&self, state: &State, member: usize) -> Result<Vec<(String, Tensor)>, TchError> {
        let named = self.named(state);
        named.map(|(flat, slot)| Ok((slot.name.clone(), member_view(flat, slot, member as i64)?))).collect()
    }

    /// One member's part of a flat tensor that lies as the parameters do (such as optimizer state), by name: views of it.
    pub fn split_of(&self, flat: &Tensor, member: usize) -> Result<Vec<(String, Tensor)>, TchError> {
        let slots = self.layout.parameters.iter();
        slots.map(|slot| Ok((slot.name.clone(), member_view(flat, slot, member as i64)?))).collect()
    }

    /// Replaces one member's tensors. Nothing changes unless every tensor is there with the right shape and kind; names
    /// that the architecture does not have are ignored.
    pub fn load_state_of(&mut self, member: usize, tensors: &[(String, Tensor)]) -> Result<(), NetworkError> {
        let by_name = index(tensors);
        let found: Vec<_> =
            self.named(&self.state).map(|(flat, slot)| find(&by_name, slot, flat.kind())).collect::<Result<_, _>>()?;
        for ((flat, slot), tensor) in self.named(&self.state).zip(found) {
            member_view(flat, slot, member as i64)?.f_copy_(tensor)?;
        }
        self.mark_changed();
        Ok(())
    }

    /// The reverse of [`Arena::split_of`]: writes one member's part of `flat`.
    pub fn join_of(&self, flat: &Tensor, member: usize, tensors: &[(String, Tensor)]) -> Result<(), NetworkError> {
        let by_name = index(tensors);
        for slot in &self.layout.parameters {
            let tensor = find(&by_name, slot, flat.kind())?;
            member_view(flat, slot, member as i64)?.f_copy_(tensor)?;
        }
        Ok(())
    }

    fn named<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (&'a Tensor, &'a Slot)> {
        let State { parameters, statistics, counters } = state;
        let in_parameters = self.layout.parameters.iter().map(move |slot| (parameters, slot));
        let in_statistics = self.layout.statistics.iter().map(move |slot| (statistics, slot));
        let in_counters = self.layout.counters.iter().map(move |slot| (counters, slot));
        in_parameters.chain(in_statistics).chain(in_counters)
    }

    /// The member that each element of the parameters belongs to: i64, flat.
    pub fn member_of_elements(&self) -> Result<Tensor, TchError> {
        let members = Tensor::f_arange(self.width(), (Kind::Int64, self.state.parameters.device()))?;
        let repeat = |slot: &Slot| members.f_repeat_interleave_self_int(slot.length(), 0, None);
        let blocks: Result<Vec<_>, TchError> = self.layout.parameters.iter().map(repeat).collect();
        Tensor::f_cat(&blocks?, 0)
    }

    /// One number for each element of the arena: 1 where weight decay applies, 0 for biases and norms.
    pub fn decay_mask(&self) -> Result<Tensor, TchError> {
        let mask = self.state.parameters.f_ones_like()?;
        for slot in self.layout.parameters.iter().filter(|slot| slot.role != Role::Weight) {
            let _ = pack_view(&mask, slot, self.width())?.f_zero_()?;
        }
        Ok(mask)
    }
}

type ByName<'a> = HashMap<&'a str, &'a Tensor>;

fn index(tensors: &[(String, Tensor)]) -> ByName<'_> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

fn find<'a>(tensors: &ByName<'a>, slot: &Slot, kind: Kind) -> Result<&'a Tensor, NetworkError> {
    let name = || slot.name.clone();
    let tensor = *tensors.get(slot.name.as_str()).ok_or_else(|| NetworkError::MissingTensor { name: name() })?;
    if tensor.kind() != kind {
        return Err(NetworkError::WrongKind { name: name(), expected: kind, found: tensor.kind() });
    }
    if tensor.size() != slot.shape {
        return Err(NetworkError::WrongShape { name: name(), expected: slot.shape.clone(), found: tensor.size() });
    }
    Ok(tensor)
}

/// The pack's block as a layer sees it.
fn pack_view(flat: &Tensor, slot: &Slot, width: i64) -> Result<Tensor, TchError> {
    let block = flat.f_narrow(0, slot.offset, width * slot.length())?;
    let mut shape = slot.shape.clone();
    match slot.join {
        Join::Stacked => shape.insert(0, width),
        Join::Channels if shape.is_empty() => shape.push(width),
        Join::Channels => shape[0] *= width,
    }
    view(&block, &shape, slot.is_channels_last())
}

/// One member's tensor, a view.
fn member_view(flat: &Tensor, slot: &Slot, member: i64) -> Result<Tensor, TchError> {
    let part = flat.f_narrow(0, slot.offset + member * slot.length(), slot.length())?;
    view(&part, &slot.shape, slot.is_channels_last())
}

fn view(block: &Tensor, shape: &[i64], is_channels_last: bool) -> Result<Tensor, TchError> {
    match *shape {
        [outputs, inputs, height, width] if is_channels_last => {
            block.f_view([outputs, height, width, inputs])?.f_permute([0, 3, 1, 2])
        }
        _ => block.f_view(shape),
    }
}

/// A gradient in the order of the arena: no copy where it comes channels-last, as those of channels-last weights do.
fn flatten(gradient: &Tensor, slot: &Slot) -> Result<Tensor, TchError> {
    if slot.is_channels_last() {
        return gradient.f_permute([0, 2, 3, 1])?.f_reshape([-1]);
    }
    gradient.f_reshape([-1])
}

fn export(flat: &Tensor, slot: &Slot, member: i64) -> Result<Tensor, TchError> {
    let part = member_view(&flat.f_detach()?, slot, member)?;
    let out = Tensor::f_empty(slot.shape.as_slice(), (flat.kind(), Device::Cpu))?;
    let mut target = out.shallow_clone();
    target.f_copy_(&part)?;
    Ok(out)
}
