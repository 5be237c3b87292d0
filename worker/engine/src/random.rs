//! Counter-based random numbers: every value is a pure function of (seed, purpose, step, index).
//!
//! A run that is killed and resumed elsewhere, or trained beside others in a pack, must draw exactly what it would have
//! drawn alone. So nothing here has state: a [`Stream`] is a key, and value `i` is a hash of that key and `i`. The hash is
//! SplitMix64's (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) with a second word
//! of the key mixed in between its two multiplications, so that two streams whose counters happen to overlap still differ.
//! It needs 64-bit integer products, shifts and xors alone, which every device computes alike: tensors are drawn where
//! they are used, from a key of two words, without a copy from the host.

use tch::{Device, Kind, TchError, Tensor};

use crate::shim;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;

/// What numbers are drawn for. Streams of different purposes never share values, so a new use never moves an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights; the step counts parameters.
    Initialization = 1,
    /// The order of samples; the step is the epoch.
    DataOrder = 2,
    /// Crop offsets of each image; the step is the training step.
    Crop = 3,
    /// Horizontal flips of each image.
    Flip = 4,
    /// Mixing of images and labels (mixup, cutmix).
    Mix = 5,
    /// Dropout masks; substreams count layers.
    Dropout = 6,
}

/// SplitMix64's finalizer (Stafford's variant 13).
const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(FIRST);
    let z = (z ^ (z >> 27)).wrapping_mul(SECOND);
    z ^ (z >> 31)
}

/// One stream of random numbers: a key of two words. Value `i` depends on the key and `i` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Stream {
    start: u64,
    twist: u64,
}

impl Stream {
    /// The stream of one run (`seed`) for one purpose at one step.
    pub const fn new(seed: u64, purpose: Purpose, step: u64) -> Self {
        let start = mix(seed.wrapping_add(GOLDEN));
        let start = mix(start ^ mix((purpose as u64).wrapping_mul(GOLDEN)));
        Self { start, twist: mix(start ^ SECOND) }.substream(step)
    }

    /// A stream of its own for part `index` of what this one serves.
    pub const fn substream(self, index: u64) -> Self {
        let start = mix(self.start ^ mix(index.wrapping_mul(GOLDEN).wrapping_add(self.twist)));
        Self { start, twist: mix(start ^ SECOND) }
    }

    /// 64 random bits.
    pub const fn bits(self, index: u64) -> u64 {
        let z = self.start.wrapping_add(index.wrapping_mul(GOLDEN));
        let z = (z ^ (z >> 30)).wrapping_mul(FIRST) ^ self.twist;
        let z = (z ^ (z >> 27)).wrapping_mul(SECOND);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub const fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..bound`, which must not be zero. The bias is below `bound`·2⁻⁶⁴.
    pub const fn below(self, index: u64, bound: u64) -> u64 {
        ((self.bits(index) as u128 * bound as u128) >> 64) as u64
    }

    /// The numbers `0..length` in random order (Fisher and Yates).
    pub fn permutation(self, length: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..length as i64).collect();
        for last in (1..length).rev() {
            order.swap(last, self.below(last as u64, last as u64 + 1) as usize);
        }
        order
    }

    /// `length` standard normal values (Box and Muller). Logarithm and cosine come from `libm`, not from the system's C
    /// library, so that every machine draws the same.
    pub fn normals(self, length: usize) -> Vec<f32> {
        let pairs = (0..length.div_ceil(2) as u64).flat_map(|pair| self.normal_pair(pair));
        pairs.take(length).collect()
    }

    fn normal_pair(self, pair: u64) -> [f32; 2] {
        let radius = (-2.0 * libm::log(1.0 - self.uniform(2 * pair))).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform(2 * pair + 1));
        [(radius * cos) as f32, (radius * sin) as f32]
    }

    /// `length` values uniform in [-`bound`, `bound`).
    pub fn symmetric(self, length: usize, bound: f64) -> Vec<f32> {
        (0..length as u64).map(|index| ((2.0 * self.uniform(index) - 1.0) * bound) as f32).collect()
    }
}

/// The streams of a pack: one seed for each member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomStreams {
    seeds: Vec<u64>,
}

impl RandomStreams {
    /// Streams for members with these seeds, in this order.
    pub fn new(seeds: &[u64]) -> Self {
        Self { seeds: seeds.to_vec() }
    }

    /// The seed of each member.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// Each member's stream for a purpose at a step.
    pub fn at(&self, purpose: Purpose, step: u64) -> PackStream {
        PackStream(self.seeds.iter().map(|&seed| Stream::new(seed, purpose, step)).collect())
    }
}

/// One stream for each member of a pack. Tensors that it draws are `[M, length]`, and row m equals what member m draws alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackStream(Vec<Stream>);

impl PackStream {
    /// Part `index` of each member's stream.
    pub fn substream(&self, index: u64) -> Self {
        Self(self.0.iter().map(|stream| stream.substream(index)).collect())
    }

    /// The stream of each member.
    pub fn members(&self) -> &[Stream] {
        &self.0
    }

    /// Uniform in [0, 1), multiples of 2⁻²⁴: f32 `[M, length]`.
    pub fn uniform(&self, length: i64, device: Device) -> Result<Tensor, TchError> {
        if device == Device::Cpu {
            return self.uniform_on_cpu(length);
        }
        let top = self.bits(length, device)?.f_bitwise_right_shift_tensor_scalar(40)?.f_bitwise_and(0xff_ffff)?;
        top.f_to_kind(Kind::Float)?.f_mul_scalar((2f64).powi(-24))
    }

    /// Uniform in `0..bound`: i64 `[M, length]`. For offsets and choices: `bound` is at most 2²⁴.
    pub fn below(&self, length: i64, bound: i64, device: Device) -> Result<Tensor, TchError> {
        debug_assert!((1..=1 << 24).contains(&bound), "bound {bound} exceeds the 24 bits of a uniform value");
        // In f64 the product is exact, and so is its floor: always below the bound.
        self.uniform(length, device)?.f_to_kind(Kind::Double)?.f_mul_scalar(bound as f64)?.f_to_kind(Kind::Int64)
    }

    /// True with probability `chance`: bool `[M, length]`.
    pub fn bernoulli(&self, length: i64, chance: f64, device: Device) -> Result<Tensor, TchError> {
        self.uniform(length, device)?.f_lt(chance)
    }

    fn uniform_on_cpu(&self, length: i64) -> Result<Tensor, TchError> {
        let out = Tensor::f_empty([self.0.len() as i64, length], (Kind::Float, Device::Cpu))?;
        for (member, stream) in self.0.iter().enumerate() {
            shim::uniform(stream.start, stream.twist, &out.f_select(0, member as i64)?)?;
        }
        Ok(out)
    }

    /// [`Stream::bits`] in integer tensor operations, which wrap as `wrapping_mul` does: i64 `[M, length]`.
    fn bits(&self, length: i64, device: Device) -> Result<Tensor, TchError> {
        let counter = Tensor::f_arange(length, (Kind::Int64, device))?.f_mul_scalar(GOLDEN as i64)?;
        let rows: Result<Vec<_>, TchError> = self.0.iter().map(|stream| hash(&counter, stream)).collect();
        Tensor::f_stack(&rows?, 0)
    }
}

fn hash(counter: &Tensor, stream: &Stream) -> Result<Tensor, TchError> {
    let z = counter.f_add_scalar(stream.start as i64)?;
    let z = fold(z, 30)?.f_mul_scalar_(FIRST as i64)?.f_bitwise_xor_(stream.twist as i64)?;
    let z = fold(z, 27)?.f_mul_scalar_(SECOND as i64)?;
    fold(z, 31)
}

/// `z ^ (z >> bits)` with a logical shift, in place: the sign that an arithmetic shift drags in is masked away.
fn fold(mut z: Tensor, bits: i64) -> Result<Tensor, TchError> {
    let mut shifted = z.f_bitwise_right_shift_tensor_scalar(bits)?;
    let shifted = shifted.f_bitwise_and_(i64::MAX >> (bits - 1))?;
    z.f_bitwise_xor_tensor_(&shifted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pack() -> PackStream {
        RandomStreams::new(&[3, 1 << 63, u64::MAX]).at(Purpose::Dropout, 7).substream(2)
    }

    /// SplitMix64 itself is the stream whose twist is zero; its first values for seed 0 are well known.
    #[test]
    fn without_twist_the_bits_are_splitmix64() {
        let stream = Stream { start: 0, twist: 0 };
        let first: Vec<u64> = (1..4).map(|index| stream.bits(index)).collect();
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    #[test]
    fn tensors_equal_the_scalar_definition_on_either_path() {
        let bits = Vec::<i64>::try_from(pack().bits(1000, Device::Cpu).unwrap().reshape(-1)).unwrap();
        let kernel = Vec::<f32>::try_from(pack().uniform(1000, Device::Cpu).unwrap().reshape(-1)).unwrap();
        for (position, (bits, kernel)) in bits.into_iter().zip(kernel).enumerate() {
            let expected = pack().members()[position / 1000].bits(position as u64 % 1000);
            assert_eq!(bits as u64, expected);
            assert_eq!(kernel, (expected >> 40) as f32 * 2f32.powi(-24));
        }
    }

    #[test]
    fn a_member_draws_in_a_pack_what_it_draws_alone() {
        let together = pack().uniform(64, Device::Cpu).unwrap();
        let alone = PackStream(vec![pack().members()[1]]).uniform(64, Device::Cpu).unwrap();
        assert_eq!(together.get(1), alone.get(0));
    }

    #[test]
    fn seeds_purposes_steps_and_parts_have_streams_of_their_own() {
        let base = Stream::new(1, Purpose::Crop, 1);
        let others = [
            Stream::new(2, Purpose::Crop, 1),
            Stream::new(1, Purpose::Flip, 1),
            Stream::new(1, Purpose::Crop, 2),
            base.substream(0),
        ];
        for other in others {
            let equal = (0..4096).filter(|&index| (base.bits(index) ^ other.bits(index)) & 0xff == 0).count();
            assert!((2..40).contains(&equal), "{equal} of 4096 bytes agree; 16 are expected");
        }
    }

    #[test]
    fn normals_have_the_moments_of_the_normal_distribution() {
        let values = Stream::new(5, Purpose::Initialization, 0).normals(100_001);
        let moment = |power| values.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / values.len() as f64;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.1);
    }

    /// Committed values, from a computation in Python: a change of the generator would silently change every run that was ever resumed.
    #[test]
    fn values_never_change() {
        let stream = Stream::new(42, Purpose::DataOrder, 3);
        assert_eq!(stream.permutation(8), GOLDEN_PERMUTATION);
        let normals: Vec<u32> = stream.normals(3).into_iter().map(f32::to_bits).collect();
        assert_eq!(normals, GOLDEN_NORMALS);
    }

    const GOLDEN_PERMUTATION: [i64; 8] = [0, 6, 1, 2, 3, 4, 5, 7];
    const GOLDEN_NORMALS: [u32; 3] = [0xbfae3515, 0xbe52e1f0, 0xbf9f54f6];

    #[test]
    fn permutations_hold_every_number_once_and_below_stays_below() {
        let mut order = Stream::new(9, Purpose::DataOrder, 0).permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
        let drawn = pack().below(10_000, 9, Device::Cpu).unwrap();
        assert_eq!((drawn.min().int64_value(&[]), drawn.max().int64_value(&[])), (0, 8));
    }
}
