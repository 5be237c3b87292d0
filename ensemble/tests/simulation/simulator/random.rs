//! Chance, repeatable: streams of numbers that depend on a seed and a purpose alone.

/// A stream of random numbers: SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream for a purpose. Drawing more from one stream changes nothing in another, so that a history from which
    /// one event is left out stays as near to the whole history as it can.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(seed, purpose))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        finish(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Two numbers made one, with no trace left of either.
pub fn mix(one: u64, other: u64) -> u64 {
    finish(finish(one.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ other.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// A number that stands for a text.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |hash, byte| mix(hash, u64::from(byte)))
}

fn finish(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
