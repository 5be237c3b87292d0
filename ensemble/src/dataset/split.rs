//! Stratified splits: pure functions of the labels and a seed, the same on every machine.

/// Two halves of some samples, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The samples to learn from.
    pub training: Vec<u32>,
    /// The samples held out.
    pub held_out: Vec<u32>,
}

/// What a shuffle is for: one seed gives each purpose an order of its own.
#[derive(Clone, Copy)]
enum Purpose {
    Validation = 1,
    Folds = 2,
}

/// Holds out `share` (0 to 1) of the samples. Every class gives its share, rounded up or down; the whole gives
/// `round(share · N)` (largest remainders first, lower classes on a tie).
pub fn validation(labels: &[u32], share: f64, seed: u64) -> Split {
    let classes = shuffled_classes(labels, 0..labels.len() as u32, seed, Purpose::Validation);
    let quotas = quotas(&classes.iter().map(Vec::len).collect::<Vec<_>>(), share.clamp(0.0, 1.0));
    let held_out = classes.iter().zip(quotas).flat_map(|(members, quota)| members[..quota].iter().copied());
    split(0..labels.len() as u32, held_out.collect())
}

/// Holds out fold `fold` of `folds` among the samples `among`. The folds partition `among`; both a class and the whole
/// are spread over them as evenly as can be: any two folds differ by at most one sample in each.
///
/// # Panics
/// If a sample has no label, or `fold` is not below `folds`.
pub fn fold(labels: &[u32], among: &[u32], fold: u32, folds: u32, seed: u64) -> Split {
    assert!(fold < folds, "fold {fold} is not below {folds}");
    let classes = shuffled_classes(labels, among.iter().copied(), seed, Purpose::Folds);
    // Dealing like cards, without starting anew at the next class, keeps the folds' sizes even as well.
    let dealt = classes.into_iter().flatten().enumerate();
    let held_out = dealt.filter(|(place, _)| place % folds as usize == fold as usize).map(|(_, sample)| sample);
    split(among.iter().copied(), held_out.collect())
}

fn split(all: impl Iterator<Item = u32>, mut held_out: Vec<u32>) -> Split {
    held_out.sort_unstable();
    let mut training: Vec<u32> = all.filter(|sample| held_out.binary_search(sample).is_err()).collect();
    training.sort_unstable();
    Split { training, held_out }
}

/// The samples of each class, in an order of the class's own.
fn shuffled_classes(labels: &[u32], among: impl Iterator<Item = u32>, seed: u64, purpose: Purpose) -> Vec<Vec<u32>> {
    let mut classes: Vec<Vec<u32>> = Vec::new();
    for sample in among {
        let class = labels[sample as usize] as usize;
        if classes.len() <= class {
            classes.resize(class + 1, Vec::new());
        }
        classes[class].push(sample);
    }
    for (class, members) in classes.iter_mut().enumerate() {
        members.sort_unstable();
        SplitMix::keyed([seed, purpose as u64, class as u64]).shuffle(members);
    }
    classes
}

/// How many samples each class gives.
fn quotas(sizes: &[usize], share: f64) -> Vec<usize> {
    let exact: Vec<f64> = sizes.iter().map(|&size| size as f64 * share).collect();
    let mut quotas: Vec<usize> = exact.iter().map(|quota| quota.floor() as usize).collect();
    let total = (sizes.iter().sum::<usize>() as f64 * share).round() as usize;
    let missing = total.saturating_sub(quotas.iter().sum());
    let mut by_remainder: Vec<usize> = (0..sizes.len()).filter(|&class| quotas[class] < sizes[class]).collect();
    // A stable sort: on a tie the lower class comes first.
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    by_remainder.into_iter().take(missing).for_each(|class| quotas[class] += 1);
    quotas
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, and only integer arithmetic, so the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    /// A generator of its own for every key.
    fn keyed(key: [u64; 3]) -> Self {
        key.into_iter().fold(Self(0), |mut mixed, word| Self(mixed.next() ^ word))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fisher and Yates. The bias of taking the product's upper half is below n · 2⁻⁶⁴.
    fn shuffle(&mut self, values: &mut [u32]) {
        for last in (1..values.len()).rev() {
            let other = (u128::from(self.next()) * (last as u128 + 1)) >> 64;
            values.swap(last, other as usize);
        }
    }
}
