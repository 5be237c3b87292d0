//! Batches of a pack: every member has its own samples in its own order.

use ensemble::job::Augmentation;
use tch::{Device, TchError, Tensor};

use super::{Normalization, Part, host};
use crate::augment::{augment, view::views};
use crate::random::{Purpose, RandomStreams};

/// One batch of each member.
#[derive(Debug)]
pub struct Batch {
    /// `[M, B, C, H, W]`, f32, normalized; channels-last in memory.
    pub images: Tensor,
    /// `[M, B]`, i64.
    pub labels: Tensor,
}

/// The batches that a pack learns from.
#[derive(Debug)]
pub struct TrainingBatches {
    /// The samples of each member, of equal number.
    samples: Vec<Vec<i64>>,
    normalizations: Vec<Normalization>,
    recipe: Vec<Augmentation>,
    streams: RandomStreams,
    size: i64,
    /// The order of the epoch that was asked for last.
    order: Option<Order>,
}

/// Each member's samples in the order of one epoch.
#[derive(Debug)]
struct Order {
    epoch: u64,
    /// `[M, N]`, on the host.
    samples: Vec<i64>,
    /// The same on the device.
    on_device: Tensor,
}

impl TrainingBatches {
    /// Batches of `size` samples from `samples[m]` for member m; the last of an epoch is as short as it must be.
    pub fn new(
        samples: Vec<Vec<i64>>,
        normalizations: Vec<Normalization>,
        recipe: &[Augmentation],
        streams: RandomStreams,
        size: u32,
    ) -> Self {
        debug_assert!(
            samples.iter().all(|of| of.len() == samples[0].len()),
            "members of a pack have equal batch counts"
        );
        Self { samples, normalizations, recipe: recipe.to_vec(), streams, size: size.into(), order: None }
    }

    /// Batches in an epoch.
    pub fn per_epoch(&self) -> u64 {
        (self.length() as u64).div_ceil(self.size as u64)
    }

    fn length(&self) -> i64 {
        self.samples.first().map_or(0, Vec::len) as i64
    }

    /// The batches of step `step`, counted from the start of the run.
    pub fn at(&mut self, step: u64, part: &Part) -> Result<Batch, TchError> {
        let (epoch, start) = (step / self.per_epoch(), (step % self.per_epoch()) as i64 * self.size);
        let length = self.size.min(self.length() - start);
        self.prepare(epoch, part.images.device())?;
        let order = self.order.as_ref().expect("the epoch's order was just prepared");
        let rows = order.on_device.f_narrow(1, start, length)?.f_reshape([-1])?;
        let images = match part.images.device() {
            Device::Cpu => self.on_host(order, start as usize, length as usize, step, part)?,
            _ => self.on_device(&rows, step, part)?,
        };
        let labels = part.labels.f_index_select(0, &rows)?.f_view([self.samples.len() as i64, length])?;
        Ok(Batch { images: images.f_permute([0, 1, 4, 2, 3])?, labels })
    }

    /// `[M, B, H, W, C]`, by tensor operations.
    fn on_device(&self, rows: &Tensor, step: u64, part: &Part) -> Result<Tensor, TchError> {
        let images = augment(part.images.f_index_select(0, rows)?, &self.recipe, &self.streams, step)?;
        Normalization::apply_each(&self.normalizations, &by_member(&images, self.samples.len())?)
    }

    /// The same, in one pass on the CPU.
    fn on_host(&self, order: &Order, start: usize, length: usize, step: u64, part: &Part) -> Result<Tensor, TchError> {
        let (_, height, width, _) = part.images.size4()?;
        let of_members = order.samples.chunks_exact(self.length() as usize);
        let rows: Vec<i64> = of_members.flat_map(|samples| &samples[start..start + length]).copied().collect();
        let views = views(&self.recipe, &self.streams, step, length, [height, width]);
        host::batch(&part.images, &rows, &views, &self.normalizations)
    }

    /// Shuffles the samples for an epoch, unless they are.
    fn prepare(&mut self, epoch: u64, device: Device) -> Result<(), TchError> {
        if self.order.as_ref().is_some_and(|order| order.epoch == epoch) {
            return Ok(());
        }
        let samples = self.shuffled(epoch);
        let on_device = Tensor::f_from_slice(&samples)?.f_view([self.samples.len() as i64, self.length()])?;
        self.order = Some(Order { epoch, on_device: on_device.f_to_device(device)?, samples });
        Ok(())
    }

    fn shuffled(&self, epoch: u64) -> Vec<i64> {
        let streams = self.streams.at(Purpose::DataOrder, epoch);
        let members = self.samples.iter().zip(streams.members());
        let shuffled = members.flat_map(|(samples, stream)| {
            stream.permutation(samples.len()).into_iter().map(|place| samples[place as usize])
        });
        shuffled.collect()
    }
}

/// `[M·B, H, W, C]` as `[M, B, H, W, C]`.
fn by_member(images: &Tensor, members: usize) -> Result<Tensor, TchError> {
    let (count, height, width, channels) = images.size4()?;
    images.f_view([members as i64, count / members as i64, height, width, channels])
}

/// Batches in the samples' own order, unchanged but for normalization. Members may have different numbers of samples:
/// the shorter lists are filled up with their first sample, and [`EvaluationBatches::counts`] says how many count.
#[derive(Debug)]
pub struct EvaluationBatches<'a> {
    part: &'a Part,
    order: Tensor,
    normalizations: &'a [Normalization],
    counts: Vec<i64>,
    size: i64,
}

impl<'a> EvaluationBatches<'a> {
    /// Batches of `size` samples; `samples[m]` for member m.
    pub fn new(
        part: &'a Part,
        samples: &[&[i64]],
        normalizations: &'a [Normalization],
        size: i64,
    ) -> Result<Self, TchError> {
        let longest = samples.iter().map(|of| of.len()).max().unwrap_or(0);
        let filled = |of: &&[i64]| {
            of.iter()
                .copied()
                .chain(std::iter::repeat(of.first().copied().unwrap_or(0)))
                .take(longest)
                .collect::<Vec<_>>()
        };
        let order: Vec<i64> = samples.iter().flat_map(filled).collect();
        let order = Tensor::f_from_slice(&order)?.f_view([samples.len() as i64, longest as i64])?;
        let counts = samples.iter().map(|of| of.len() as i64).collect();
        Ok(Self { part, order: order.f_to_device(part.images.device())?, normalizations, counts, size })
    }

    /// How many samples of each member count.
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }

    /// The batches, in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Batch, TchError>> + '_ {
        let longest = self.order.size()[1];
        (0..longest).step_by(self.size.max(1) as usize).map(move |start| {
            let rows = self.order.f_narrow(1, start, self.size.min(longest - start))?;
            let (members, batch) = rows.size2()?;
            let rows = rows.f_reshape([-1])?;
            let images = by_member(&self.part.images.f_index_select(0, &rows)?, self.normalizations.len())?;
            let images = Normalization::apply_each(self.normalizations, &images)?.f_permute([0, 1, 4, 2, 3])?;
            Ok(Batch { images, labels: self.part.labels.f_index_select(0, &rows)?.f_view([members, batch])? })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tch::Kind;

    /// Ten images of one pixel, whose value is their number.
    fn part() -> Part {
        let numbers: Vec<u8> = (0..10).collect();
        let host_labels: Vec<u32> = (0..10).collect();
        let labels = Tensor::arange(10, (Kind::Int64, Device::Cpu));
        Part { images: Tensor::from_slice(&numbers).view([10, 1, 1, 1]), labels, host_labels }
    }

    fn batches(samples: Vec<Vec<i64>>, seeds: &[u64]) -> TrainingBatches {
        let plain = Normalization { mean: vec![0.0], std: vec![1.0 / 255.0] };
        let normalizations = vec![plain; samples.len()];
        TrainingBatches::new(samples, normalizations, &[], RandomStreams::new(seeds), 3)
    }

    fn labels(batches: &mut TrainingBatches, step: u64, member: i64) -> Vec<i64> {
        Vec::try_from(batches.at(step, &part()).unwrap().labels.get(member)).unwrap()
    }

    #[test]
    fn an_epoch_meets_every_sample_once_and_each_epoch_in_another_order() {
        let mut batches = batches(vec![(0..10).collect()], &[1]);
        assert_eq!(batches.per_epoch(), 4);
        let epoch = |batches: &mut _, first: u64| {
            (first..first + 4).flat_map(|step| labels(batches, step, 0)).collect::<Vec<_>>()
        };
        let (first, second) = (epoch(&mut batches, 0), epoch(&mut batches, 4));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..10));
        }
    }

    #[test]
    fn a_member_of_a_pack_meets_what_it_meets_alone_and_images_go_with_their_labels() {
        let mut pack = batches(vec![(0..7).collect(), (3..10).collect()], &[5, 6]);
        let mut alone = batches(vec![(3..10).collect()], &[6]);
        for step in [0, 2, 3, 5] {
            assert_eq!(labels(&mut pack, step, 1), labels(&mut alone, step, 0));
            let batch = pack.at(step, &part()).unwrap();
            assert_eq!(batch.images.reshape(-1).round().to_kind(Kind::Int64), batch.labels.reshape(-1));
        }
    }

    #[test]
    fn evaluation_keeps_the_order_and_fills_up_the_shorter_list() {
        let part = part();
        let plain = vec![Normalization { mean: vec![0.0], std: vec![1.0] }; 2];
        let batches = EvaluationBatches::new(&part, &[&[4, 5, 9], &[7, 1]], &plain, 2).unwrap();
        assert_eq!(batches.counts(), [3, 2]);
        let labels: Vec<Tensor> = batches.iter().map(|batch| batch.unwrap().labels).collect();
        assert_eq!(Vec::<i64>::try_from(Tensor::cat(&labels, 1).reshape(-1)).unwrap(), [4, 5, 9, 7, 1, 7]);
    }
}
