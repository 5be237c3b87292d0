//! What networks answer, in checked shapes: [`Logits`], [`Probabilities`] and the [`Labels`] they are held against.
//!
//! All are `[N, K]`, row-major: N samples, K classes. The constructors are the only place where a NaN, a ragged buffer
//! or a label out of range can turn up, so metrics and combination work on values that are known to be sound.

/// Largest distance from 1 that the sum of a row of probabilities may have. Softmax in `f32` stays within 1e-5 for
/// thousands of classes, and in `bf16` rounded to within 1e-2, which is too coarse to be scored.
pub const ROW_SUM_TOLERANCE: f64 = 1e-3;

/// Why predictions or labels were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// There is nothing to score or combine.
    #[error("no {0}: at least one is needed")]
    Empty(&'static str),
    /// The buffer is not a whole number of rows.
    #[error("{values} values do not divide into rows of {classes} classes")]
    Ragged {
        /// Length of the buffer.
        values: usize,
        /// Length of a row.
        classes: usize,
    },
    /// A logit or probability is NaN or infinite.
    #[error("sample {sample}, class {class}: {value} is not a finite number")]
    NotFinite {
        /// Row of the value.
        sample: usize,
        /// Column of the value.
        class: usize,
        /// The value.
        value: f64,
    },
    /// A probability is outside `[0, 1]`.
    #[error("sample {sample}, class {class}: {value} is not a probability; pass logits through a softmax first")]
    NotProbability {
        /// Row of the value.
        sample: usize,
        /// Column of the value.
        class: usize,
        /// The value.
        value: f64,
    },
    /// A row of probabilities does not sum to 1.
    #[error("sample {sample}: probabilities sum to {sum}, not 1; pass logits through a softmax first")]
    RowSum {
        /// Row that is wrong.
        sample: usize,
        /// What it sums to.
        sum: f64,
    },
    /// A label names no class.
    #[error("sample {sample}: label {label} is not below the {classes} classes")]
    Label {
        /// Row of the label.
        sample: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Two things that must describe the same samples and classes do not.
    #[error("shapes differ: {left:?} against {right:?} (samples, classes)")]
    Shapes {
        /// Samples and classes of the first.
        left: (usize, usize),
        /// Samples and classes of the second.
        right: (usize, usize),
    },
}

/// The true class of each of N samples, every one below K.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    classes: usize,
    values: Vec<u32>,
}

impl Labels {
    /// Checks that there are samples and that each label is below `classes`.
    pub fn new(values: Vec<u32>, classes: usize) -> Result<Self, Invalid> {
        if values.is_empty() {
            return Err(Invalid::Empty("samples"));
        }
        match values.iter().position(|&label| label as usize >= classes) {
            Some(sample) => Err(Invalid::Label { sample, label: values[sample], classes }),
            None => Ok(Self { classes, values }),
        }
    }

    /// The labels, one a sample.
    pub fn values(&self) -> &[u32] {
        &self.values
    }

    /// Samples and classes.
    pub fn shape(&self) -> (usize, usize) {
        (self.values.len(), self.classes)
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        self.values.iter().map(|&label| label as usize)
    }
}

/// Unnormalized scores of one member, `[N, K]`, finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    classes: usize,
    values: Vec<f32>,
}

impl Logits {
    /// Checks the shape and that every value is finite.
    pub fn new(values: Vec<f32>, classes: usize) -> Result<Self, Invalid> {
        check_shape(values.len(), classes)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(not_finite(at, classes, values[at].into())),
            None => Ok(Self { classes, values }),
        }
    }

    /// Rows of K scores, one a sample.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.classes)
    }

    /// The scores of one sample. Panics where `sample` is not below the number of samples.
    pub fn row(&self, sample: usize) -> &[f32] {
        &self.values[sample * self.classes..][..self.classes]
    }

    /// Samples and classes.
    pub fn shape(&self) -> (usize, usize) {
        (self.values.len() / self.classes, self.classes)
    }

    /// Softmax of every row, in `f64`.
    pub fn softmax(&self) -> Probabilities {
        let mut values: Vec<f64> = self.values.iter().map(|&value| value.into()).collect();
        values.chunks_exact_mut(self.classes).for_each(softmax_in_place);
        Probabilities { classes: self.classes, values }
    }

    /// The probability that each sample's true class was given, `[N]`: all that a log loss needs.
    pub fn true_class(&self, labels: &Labels) -> Result<Vec<f64>, Invalid> {
        same_shape(self.shape(), labels.shape())?;
        Ok(self.rows().zip(labels.indices()).map(|(row, label)| softmax_at(row, label)).collect())
    }
}

/// Class probabilities, `[N, K]`: each in `[0, 1]`, each row summing to 1 within [`ROW_SUM_TOLERANCE`].
#[derive(Debug, Clone, PartialEq)]
pub struct Probabilities {
    classes: usize,
    values: Vec<f64>,
}

impl Probabilities {
    /// Checks the shape, every value and every row's sum.
    pub fn new(values: Vec<f64>, classes: usize) -> Result<Self, Invalid> {
        check_shape(values.len(), classes)?;
        for (sample, row) in values.chunks_exact(classes).enumerate() {
            check_distribution(sample, row)?;
        }
        Ok(Self { classes, values })
    }

    /// As [`Probabilities::new`], from single precision.
    pub fn from_f32(values: &[f32], classes: usize) -> Result<Self, Invalid> {
        Self::new(values.iter().map(|&value| value.into()).collect(), classes)
    }

    /// For rows that are distributions by construction.
    pub(crate) fn trusted(values: Vec<f64>, classes: usize) -> Self {
        debug_assert!(Self::new(values.clone(), classes).is_ok());
        Self { classes, values }
    }

    /// Rows of K probabilities, one a sample.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.classes)
    }

    /// Samples and classes.
    pub fn shape(&self) -> (usize, usize) {
        (self.values.len() / self.classes, self.classes)
    }

    /// The predicted class of each sample: the most probable one, the lowest on a tie.
    pub fn predicted(&self) -> Vec<u32> {
        self.rows().map(|row| argmax(row) as u32).collect()
    }

    /// All values, row after row.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }
}

/// Index of the largest value; of the first of them on a tie. Takes finite values.
pub fn argmax<T: PartialOrd>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
}

/// Replaces scores by their softmax, shifted by the largest so that nothing overflows.
pub(crate) fn softmax_in_place(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|score| *score /= sum);
}

fn softmax_at(row: &[f32], class: usize) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&score| (f64::from(score) - largest).exp()).sum();
    (f64::from(row[class]) - largest).exp() / sum
}

pub(crate) fn same_shape(left: (usize, usize), right: (usize, usize)) -> Result<(), Invalid> {
    if left == right { Ok(()) } else { Err(Invalid::Shapes { left, right }) }
}

fn check_shape(values: usize, classes: usize) -> Result<(), Invalid> {
    if classes == 0 {
        return Err(Invalid::Empty("classes"));
    }
    if values == 0 {
        return Err(Invalid::Empty("samples"));
    }
    if values.is_multiple_of(classes) { Ok(()) } else { Err(Invalid::Ragged { values, classes }) }
}

fn check_distribution(sample: usize, row: &[f64]) -> Result<(), Invalid> {
    for (class, &value) in row.iter().enumerate() {
        if !value.is_finite() {
            return Err(Invalid::NotFinite { sample, class, value });
        }
        if !(0.0..=1.0 + ROW_SUM_TOLERANCE).contains(&value) {
            return Err(Invalid::NotProbability { sample, class, value });
        }
    }
    let sum: f64 = row.iter().sum();
    if (sum - 1.0).abs() <= ROW_SUM_TOLERANCE { Ok(()) } else { Err(Invalid::RowSum { sample, sum }) }
}

fn not_finite(at: usize, classes: usize, value: f64) -> Invalid {
    Invalid::NotFinite { sample: at / classes, class: at % classes, value }
}
