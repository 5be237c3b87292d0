//! Averages of weights that are kept while a pack trains.

use ensemble::average::ema_decay;
use ensemble::run::{Goal, MovingAverage, Run};
use tch::{TchError, Tensor};

use crate::artifact::Tensors;
use crate::checkpoint::Checkpoint;
use crate::error::TaskError;
use crate::nn::Network;
use crate::nn::arena::{Arena, State, on_host};
use crate::optimizer::{ema_update, swa_update};

/// The averages of a pack. Each is taken over the whole arena, for the members that ask for it.
pub(super) struct Averages {
    moving: Vec<Moving>,
    /// The equal-weight mean, if the runs are there for it, and how many models it is the mean of.
    swa: Option<Swa>,
}

struct Moving {
    rule: MovingAverage,
    /// Which members want it.
    members: Vec<usize>,
    mean: Option<State>,
}

struct Swa {
    /// The average's place in the job's list, for each member.
    indices: Vec<Option<u32>>,
    mean: Option<State>,
    count: u64,
}

impl Averages {
    pub(super) fn new<'a>(runs: impl Iterator<Item = &'a Run>) -> Self {
        let (mut moving, mut indices) = (Vec::<Moving>::new(), Vec::new());
        for (place, run) in runs.enumerate() {
            for &rule in &run.averages {
                match moving.iter_mut().find(|known| known.rule == rule) {
                    Some(known) => known.members.push(place),
                    None => moving.push(Moving { rule, members: vec![place], mean: None }),
                }
            }
            indices.push(if let Goal::Swa { average, .. } = run.goal { Some(average) } else { None });
        }
        let swa = indices.iter().any(Option::is_some).then_some(Swa { indices, mean: None, count: 0 });
        Self { moving, swa }
    }

    /// Begins with the weights as they are now, or with what the checkpoints hold.
    pub(super) fn begin(&mut self, network: &Network, from: &[Option<Checkpoint>]) -> Result<(), TaskError> {
        let stored = |place: usize, index: u32| {
            let averages = from.get(place)?.as_ref()?.averages.iter();
            averages.clone().find(|(of, _)| *of == index).map(|(_, tensors)| tensors)
        };
        let begin = |wanted: &mut dyn Iterator<Item = (usize, u32)>| -> Result<State, TaskError> {
            let mean = network.arena().state().duplicate()?;
            for (place, index) in wanted {
                if let Some(tensors) = stored(place, index) {
                    network.arena().join_of(&mean.parameters, place, tensors)?;
                }
            }
            Ok(mean)
        };
        for moving in &mut self.moving {
            moving.mean = Some(begin(&mut moving.indices().into_iter())?);
        }
        if let Some(swa) = &mut self.swa {
            swa.mean = Some(begin(&mut swa.indices().into_iter())?);
            swa.count = from.iter().flatten().map(|state| state.swa_count).max().unwrap_or(0);
        }
        Ok(())
    }

    /// One update of every moving average, after the step that followed `step` others.
    pub(super) fn after_step(&mut self, network: &Network, step: u64) -> Result<(), TchError> {
        for Moving { rule, mean, .. } in &mut self.moving {
            if let Some(mean) = mean {
                ema_update(mean, network.arena().state(), ema_decay(rule.decay, rule.warmup, step))?;
            }
        }
        Ok(())
    }

    /// Adds the weights at the end of an epoch to the equal-weight mean.
    pub(super) fn after_epoch(&mut self, network: &Network) -> Result<(), TchError> {
        if let Some(Swa { mean: Some(mean), count, .. }) = &mut self.swa {
            swa_update(mean, network.arena().state(), *count)?;
            *count += 1;
        }
        Ok(())
    }

    /// How many models the equal-weight mean is of.
    pub(super) fn swa_count(&self) -> u64 {
        self.swa.as_ref().map_or(0, |swa| swa.count)
    }

    /// A copy of the parameters of all averages, on the host. An equal-weight mean of nothing is the weights as they are.
    pub(super) fn on_host(&self) -> Result<Means, TchError> {
        let moving = self.moving.iter().map(|moving| (moving.indices(), moving.mean.as_ref()));
        let swa = self.swa.iter().map(|swa| (swa.indices(), swa.mean.as_ref()));
        let means = moving.chain(swa).filter_map(|(indices, mean)| Some((indices, mean?)));
        let copies = means.map(|(indices, mean)| Ok((indices, on_host(&mean.parameters)?)));
        Ok(Means(copies.collect::<Result<_, TchError>>()?))
    }
}

impl Moving {
    fn indices(&self) -> Vec<(usize, u32)> {
        self.members.iter().map(|&member| (member, self.rule.average)).collect()
    }
}

impl Swa {
    fn indices(&self) -> Vec<(usize, u32)> {
        self.indices.iter().enumerate().filter_map(|(member, index)| Some((member, (*index)?))).collect()
    }
}

/// Parameters of averages. With each: which members want it, and its place in the job's list.
pub(super) struct Means(Vec<(Vec<(usize, u32)>, Tensor)>);

impl Means {
    /// The parameters of each average of one member, by the average's place in the job's list: views.
    pub(super) fn of(&self, arena: &Arena, member: usize) -> Result<Vec<(u32, Tensors)>, TchError> {
        let wanted = self.0.iter().filter_map(|(indices, flat)| {
            let (_, index) = indices.iter().find(|(of, _)| *of == member)?;
            Some((*index, flat))
        });
        wanted.map(|(index, flat)| Ok((index, arena.split_of(flat, member)?))).collect()
    }
}
